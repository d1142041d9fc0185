"""Money in whole minor units of its currency, and the one rounding: half away from zero.

Unit prices, quantities and shares stay exact (`Decimal`, `Fraction`) until they become `Money`, once.
Splitting never rounds: the parts of an amount sum to the amount.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import Self

from iso4217 import Currency

from libs.common.errors import RuleViolation
from libs.common.exact import DIGITS_MAX, EXACT

MINOR_MAX = 2**63 - 1  # what a BIGINT column holds

_EXPONENTS: dict[str, int] = {
    currency.code: currency.exponent for currency in Currency if currency.exponent is not None
}
# `to_minor_unit(amount, MINOR_UNITS[currency])`: a decimal, rounded as `round_half_away` does, in major units still. For
# the one place that rounds a hundred thousand lines a second; `Money.from_rounded` makes money of it.
to_minor_unit = Context(prec=DIGITS_MAX, rounding=ROUND_HALF_UP, traps=[InvalidOperation]).quantize


class UnknownCurrency(RuleViolation):
    """Not in ISO 4217, or (gold, test codes) without a minor unit in which one could pay."""

    code = "unknown_currency"
    title = "Unknown currency"


class _MinorUnits(dict[str, Decimal]):
    def __missing__(self, currency: str) -> Decimal:
        raise UnknownCurrency("no such currency in ISO 4217", currency=currency)


# One minor unit in major ones: 0.01 for EUR. Raises: UnknownCurrency.
MINOR_UNITS = _MinorUnits({code: Decimal(1).scaleb(-decimals) for code, decimals in _EXPONENTS.items()})


class CurrencyMismatch(RuleViolation):
    code = "currency_mismatch"
    title = "Amounts of different currencies"


class AmountTooLarge(RuleViolation):
    code = "amount_too_large"
    title = "Amount too large"


class WeightsWithoutSum(RuleViolation):
    """There is nothing to split by: no weights, or weights that cancel out."""

    code = "weights_without_sum"
    title = "Weights that sum to zero"


def exponent(currency: str) -> int:
    """How many decimals the currency has: 2 for EUR, 0 for JPY, 3 for KWD.

    Raises: UnknownCurrency.
    Source: ISO 4217, table A.1.
    """
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency("no such currency in ISO 4217", currency=currency) from None


def round_half_away(amount: Decimal | Fraction, exponent: int) -> int:
    """The exact `amount` as a whole number of units of 10 to the power of minus `exponent`.

    Rounding: half away from zero: 10.005 becomes 1001 and -10.005 becomes -1001 with two decimals.
    Raises: AmountTooLarge when the result would not fit a column of 64 bits.
    Source: EN 16931, half-up on absolute values.
    """
    if isinstance(amount, Decimal) and not (amount.is_finite() and amount.adjusted() < 40):
        raise AmountTooLarge("not an amount that can be counted")
    return round_ratio(*amount.as_integer_ratio(), exponent)


def round_ratio(numerator: int, denominator: int, exponent: int) -> int:
    """The same for `numerator` / `denominator`, which need not be in lowest terms."""
    minor = _divide_half_away(numerator * 10**exponent, denominator)
    if abs(minor) > MINOR_MAX:
        raise AmountTooLarge("more minor units than can be counted")
    return minor


class WeightOfNothing(RuleViolation):
    """Whoever is named pays a part: to be left out, a part is not named."""

    code = "weight_of_nothing"
    title = "A part that weighs nothing"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units; negative when it is a credit. Never a float, never part of a minor unit.

    Raises: UnknownCurrency, AmountTooLarge.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        assert type(self.amount_minor) is int, "money is a whole number of minor units"
        if self.currency not in _EXPONENTS:
            raise UnknownCurrency("no such currency in ISO 4217", currency=self.currency)
        if abs(self.amount_minor) > MINOR_MAX:
            raise AmountTooLarge("more minor units than can be counted")

    @classmethod
    def zero(cls, currency: str) -> Self:
        return cls(0, currency)

    @classmethod
    def from_decimal(cls, amount: Decimal | Fraction, currency: str) -> Self:
        """The exact `amount`, in major units, as money.

        Rounding: once, half away from zero, to the currency's minor unit.
        """
        return cls(round_half_away(amount, exponent(currency)), currency)

    @classmethod
    def from_rounded(cls, amount: Decimal, currency: str) -> Self:
        """An `amount` in major units that has no part of a minor one, as `to_minor_unit` gives it."""
        return cls(int(EXACT.scaleb(amount, exponent(currency))), currency)

    def to_decimal(self) -> Decimal:
        """The amount in major units, with all the decimals of its currency."""
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))

    def __add__(self, other: Self) -> Self:
        self._check_currency(other)
        return type(self)(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: Self) -> Self:
        self._check_currency(other)
        return type(self)(self.amount_minor - other.amount_minor, self.currency)

    def __neg__(self) -> Self:
        return type(self)(-self.amount_minor, self.currency)

    def share(self, numerator: int, denominator: int) -> Self:
        """The part `numerator` of `denominator`; to cut an amount in two, keep the remainder by subtraction.

        Rounding: once, half away from zero.
        """
        assert denominator > 0, "a share has a whole to be part of"
        return type(self)(_divide_half_away(self.amount_minor * numerator, denominator), self.currency)

    def _check_currency(self, other: Self) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch("cannot add up", one=self.currency, other=other.currency)


def total(amounts: Iterable[Money], currency: str) -> Money:
    """The sum, zero of `currency` when there are none.

    Raises: CurrencyMismatch when one of them is in another currency.
    """
    return sum(amounts, start=Money.zero(currency))


def allocate(money: Money, weights: Sequence[int | Decimal | Fraction]) -> list[Money]:
    """Split `money` in proportion to `weights`, which may be of either sign; the parts sum to the whole.

    Rounding: each exact share is floored towards minus infinity; the missing minor units go, one each,
    to the largest remainders, ties to the first.
    Raises: WeightsWithoutSum.
    Source: largest remainder (Hamilton), carried over to negative shares.
    """
    exact = [Fraction(weight) for weight in weights]
    whole = sum(exact, start=Fraction(0))
    if whole == 0:
        raise WeightsWithoutSum("cannot split by weights that sum to zero", parts=len(exact))
    return apportion(money, [money.amount_minor * weight * whole**-1 for weight in exact])


def allocate_by_name(money: Money, weights: Mapping[str, int | Decimal | Fraction]) -> dict[str, Money]:
    """Split `money` over named parts; what it comes to does not depend on the order in which they are given.

    A part that comes to nothing is left out.
    Rounding: as `allocate`, ties to the name that comes first in the alphabet.
    Raises: WeightsWithoutSum, WeightOfNothing.
    """
    names = sorted(weights)
    without = [name for name in names if weights[name] <= 0]
    if without:
        raise WeightOfNothing("a part weighs nothing, or less", parts=without)
    parts = allocate(money, [weights[name] for name in names])
    return {name: part for name, part in zip(names, parts, strict=True) if part.amount_minor}


def apportion(money: Money, exact: Sequence[Fraction]) -> list[Money]:
    """`money` in parts that are nearest to these exact shares, in minor units, and sum to the whole.

    The shares sum to `money` before it was rounded, so that there is less than one minor unit to give to each.
    Rounding and source: as `allocate`.
    """
    shares = [_floor_and_remainder(share) for share in exact]
    minors = [floor for floor, _ in shares]
    missing = money.amount_minor - sum(minors)
    assert 0 <= missing <= len(shares), "the shares are those of this amount"
    by_remainder = sorted(range(len(shares)), key=lambda part: -shares[part][1])
    for part in by_remainder[:missing]:
        minors[part] += 1
    return [Money(minor, money.currency) for minor in minors]


def split_evenly(money: Money, parts: int) -> list[Money]:
    """Split `money` into `parts` that differ by one minor unit at most, the bigger ones first.

    Raises: WeightsWithoutSum when `parts` is not positive.
    """
    return allocate(money, [1] * parts)


def _divide_half_away(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(abs(numerator), denominator)
    rounded = quotient + 1 if 2 * rest >= denominator else quotient
    return rounded if numerator >= 0 else -rounded


def _floor_and_remainder(share: Fraction) -> tuple[int, Fraction]:
    floor = share.numerator // share.denominator
    return floor, share - floor

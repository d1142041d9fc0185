"""Rating itself: what is included off, the model's parts, the part of the period, and one rounding a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from libs.common.errors import RuleViolation
from libs.common.exact import EXACT, Number, plain, subtract, text
from libs.common.money import MINOR_UNITS, Money, exponent, round_ratio, to_minor_unit, total
from libs.common.periods import Period
from services.billing.domain.rating.allowance import AllowanceBalance, AllowancePool, draw, earned_by, used_of
from services.billing.domain.rating.bounds import bound_line
from services.billing.domain.rating.capacity import capacity, measured_capacity
from services.billing.domain.rating.dynamic import dynamic
from services.billing.domain.rating.expression import expression
from services.billing.domain.rating.flat import flat
from services.billing.domain.rating.graduated import graduated
from services.billing.domain.rating.graduated_percentage import graduated_percentage
from services.billing.domain.rating.matrix import matrix
from services.billing.domain.rating.package import package
from services.billing.domain.rating.per_unit import per_unit
from services.billing.domain.rating.percentage import percentage
from services.billing.domain.rating.price import Model, Price
from services.billing.domain.rating.rated_line import NOTHING, PLAIN, Covered, Part, RatedLine, Terms
from services.billing.domain.rating.usage import NegativeQuantity, Usage
from services.billing.domain.rating.volume import volume

__all__ = [
    "WHOLE_PERIOD",
    "AllowanceNotOffered",
    "NegativeQuantity",
    "Rated",
    "RatedLine",
    "rate",
    "rate_usage",
]

WHOLE_PERIOD = Fraction(1)

# What the quantity alone decides, and what must see the usage itself.
BY_QUANTITY: Mapping[Model, Callable[[Price, Number], Sequence[Part]]] = {
    "flat": flat,
    "per_unit": per_unit,
    "graduated": graduated,
    "volume": volume,
    "package": package,
    "graduated_percentage": graduated_percentage,
    "dynamic": dynamic,
    "capacity": capacity,
}
BY_USAGE: Mapping[Model, Callable[[Price, Decimal, Number, Usage | None], Sequence[Part]]] = {
    "percentage": percentage,
    "matrix": matrix,
    "expression": expression,
}

_multiply, _add, _subtract = EXACT.multiply, EXACT.add, EXACT.subtract
_new = tuple.__new__  # what a named tuple calls, without the call around it


class AllowanceNotOffered(RuleViolation):
    """A balance of free units needs a model that counts units of one kind."""

    code = "allowance_not_offered"
    title = "A price whose allowance cannot be carried on"


class Rated(NamedTuple):
    """One price, rated: everything that is needed to work it out again, and the lines that it came to.

    `measured` is the quantity that the model took from the usage (of a capacity, the peak or the mean), `billable`
    what is left of it when everything free is off. `opening` and `closing` are the allowance before and after, if
    there is one.
    """

    price: Price
    usage: Usage
    period: Period | None
    fraction: Fraction
    bounds_fraction: Fraction
    measured: Number
    covered: Covered | None
    billable: Number
    lines: tuple[RatedLine, ...]
    opening: AllowanceBalance | None
    closing: AllowanceBalance | None

    @property
    def amount(self) -> Money:
        return total((line.amount for line in self.lines), self.price.currency)


def rate(price: Price, quantity: Decimal, *, fraction: Fraction = WHOLE_PERIOD) -> tuple[RatedLine, ...]:
    """What `quantity` costs for `fraction` of a period: a line for each tier or cell that applies, at least one.

    The same arguments always give the same lines. `price` is one that `validate_price` found no fault with.
    Units: amounts of the price in major units; `quantity` in units of what is sold or metered.
    Rounding: each line once, half away from zero, from the exact product.
    Raises: NegativeQuantity; a credit is rated as the quantity given back, and then turned. UsageIncomplete for a
    model that needs more than a quantity.
    Source: each tier of a graduated price counts as a price of its own, hence is a line of its own.
    """
    if quantity < NOTHING:
        raise NegativeQuantity("a quantity is rated from zero up", quantity=quantity)
    billable = quantity
    if price.included_quantity:
        billable = max(NOTHING, _subtract(quantity, price.included_quantity))
    by_quantity = BY_QUANTITY.get(price.model)
    if by_quantity is not None:
        parts = by_quantity(price, billable)
        in_decimals = type(quantity) is Decimal
    else:
        parts = BY_USAGE[price.model](price, quantity, billable, None)
        in_decimals = type(parts[-1][2]) is Decimal
    if in_decimals and fraction is WHOLE_PERIOD:
        lines = _plain_lines(price, parts)
    else:
        lines = _lines(price, parts, PLAIN if fraction is WHOLE_PERIOD else Terms("price", fraction))
    if price.minimum_amount is None and price.maximum_amount is None:
        return tuple(lines)
    return _bounded(price, lines, fraction)


def rate_usage(
    price: Price,
    usage: Usage,
    period: Period | None = None,
    *,
    fraction: Fraction = WHOLE_PERIOD,
    bounds_fraction: Fraction | None = None,
    allowance: AllowanceBalance | None = None,
) -> Rated:
    """What `usage` costs: as `rate`, for every model, with everything that is needed to explain it.

    `fraction` is the part of the period that is charged, `bounds_fraction` that for which the price's minimum and
    maximum hold (`fraction` if it is not given: usage is charged whole even where its period was cut).
    `allowance` is the balance before this usage; without one, `included_quantity` is whole, and nothing rolls over. Of a
    pool that is not settled yet, there is one line of nothing, and the price's minimum is not owed.
    `period` is needed for dated levels only.
    Raises: NegativeQuantity, UsageIncomplete, UsageInconsistent, NoMatrixCell, ExpressionFailed, NegativeAmount,
    AllowanceNotOffered.
    """
    measured: Number = usage.quantity
    if price.model == "capacity":
        measured = measured_capacity(price, usage, period)
    pool = None if allowance is None else allowance.pool
    if measured < NOTHING and pool is None:
        raise NegativeQuantity("a quantity is rated from zero up", quantity=measured)
    covered: Covered | None = None
    closing: AllowanceBalance | None = None
    billable = measured
    if allowance is None:
        if price.included_quantity:
            billable = max(NOTHING, subtract(measured, price.included_quantity))
    else:
        if price.model in BY_USAGE or not isinstance(measured, Decimal):
            raise AllowanceNotOffered("no balance of free units goes with this price", price=price.code)
        drawn = draw(price, measured, allowance)
        covered, billable, closing = drawn.covered, drawn.billable, drawn.closing
    if price.model in BY_USAGE:
        parts = BY_USAGE[price.model](price, usage.quantity, billable, usage)
    elif pool is not None and not pool.is_last:
        parts = _nothing_yet(price)
    else:
        parts = BY_QUANTITY[price.model](price, billable)
    bounds = fraction if bounds_fraction is None else bounds_fraction
    is_plain = fraction is WHOLE_PERIOD and covered is None
    counted = None if pool is None else _pool_told(price, pool, usage.quantity)
    lines = _lines(price, parts, PLAIN if is_plain else Terms("price", fraction, covered, counted=counted))
    return Rated(
        price=price,
        usage=usage,
        period=period,
        fraction=fraction,
        bounds_fraction=bounds,
        measured=measured,
        covered=covered,
        billable=billable,
        lines=tuple(lines) if pool is not None and not pool.is_last else _bounded(price, lines, bounds),
        opening=allowance,
        closing=closing,
    )


def _nothing_yet(price: Price) -> tuple[Part, ...]:
    """Of a pool that is not settled: no unit of it is paid for, and nothing that is added once."""
    if price.tiers:
        return ((1, NOTHING, price.tiers[0].unit_amount, NOTHING, None, None),)
    return ((0, NOTHING, price.unit_amount or NOTHING, NOTHING, None, NOTHING),)


def _pool_told(price: Price, pool: AllowancePool, quantity: Decimal) -> str:
    used, since = text(used_of(pool, quantity)), f"since {pool.start_on}"
    if not pool.is_last:
        return f"{used} used of the pool {since}, which is settled later"
    earned = f"{text(price.included_quantity)} * {_in_brackets(pool.held)} / {pool.length}"
    return f"{used} used of the pool {since} after {earned} = {text(earned_by(price.included_quantity, pool))} earned"


def _in_brackets(number: Fraction) -> str:
    told = text(plain(number))
    return f"({told})" if "/" in told else told


def _plain_lines(price: Price, parts: Sequence[Part]) -> list[RatedLine]:
    """The hot loop: a whole period and decimals only, in the exact context; nothing is shown yet."""
    cent = MINOR_UNITS[price.currency]
    lines: list[RatedLine] = []
    for part in parts:
        _, quantity, unit_amount, flat_amount, cap_amount, _ = part
        full = _multiply(quantity, unit_amount)  # type: ignore[arg-type]
        if flat_amount:
            full = _add(full, flat_amount)
        if cap_amount is not None and full > cap_amount:
            full = cap_amount
        lines.append(_new(RatedLine, (price, part, to_minor_unit(full, cent), PLAIN)))
    return lines


def _lines(price: Price, parts: Sequence[Part], terms: Terms) -> list[RatedLine]:
    """Lines of any kind: of a part of a period, or with fractions."""
    last = parts[
        -1
    ]  # if there is any fraction, it is what the last tier reached is left with, or an expression's
    if terms is PLAIN and type(last[1]) is type(last[2]) is Decimal:
        return _plain_lines(price, parts)
    fraction = terms.fraction
    assert 0 <= fraction <= 1, "a part of a period is no more than the period"
    return [_new(RatedLine, (price, part, _part_of(price, part, fraction), terms)) for part in parts]


def _bounded(price: Price, lines: list[RatedLine], fraction: Fraction) -> tuple[RatedLine, ...]:
    """With the line that the price's minimum or maximum adds, if it does."""
    if price.minimum_amount is not None or price.maximum_amount is not None:
        bound = bound_line(price, lines, fraction)
        if bound is not None:
            lines.append(bound)
    return tuple(lines)


def _part_of(price: Price, part: Part, fraction: Fraction) -> Decimal:
    """The same where there are fractions: in whole numbers, which need not be in lowest terms."""
    _, quantity, unit_amount, flat_amount, cap_amount, _ = part
    numerator, denominator = quantity.as_integer_ratio()
    over, under = unit_amount.as_integer_ratio()
    numerator, denominator = numerator * over, denominator * under
    if flat_amount:
        over, under = flat_amount.as_integer_ratio()
        numerator, denominator = numerator * under + over * denominator, denominator * under
    if cap_amount is not None:
        over, under = cap_amount.as_integer_ratio()
        if numerator * under > over * denominator:
            numerator, denominator = over, under
    decimals = exponent(price.currency)
    minor = round_ratio(numerator * fraction.numerator, denominator * fraction.denominator, decimals)
    return Decimal(minor).scaleb(-decimals)

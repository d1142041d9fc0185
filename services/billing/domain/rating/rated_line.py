"""What rating gives: one line for each part of a price that applies, rounded once, with the sum it came from."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

from libs.common.exact import Number, absolute, add, multiply, subtract, text
from libs.common.money import Money, round_half_away
from services.billing.domain.rating.price import Price

QUANTITY_DECIMALS = 6
PRICE_DECIMALS = 12
NOTHING = Decimal(0)
ONE = Decimal(1)

LineKind = Literal["price", "minimum", "maximum", "shortfall"]

# What a model finds for one tier or cell, before money: its ordinal from 1 (0 where there is only one), the quantity,
# the unit amount, what is added once, the most it comes to, and what the quantity was counted from where that is
# another number. Plain tuples, since one is made for every line, and a hundred thousand lines a second.
Part = tuple[int, Number, Number, Decimal, Decimal | None, Number | None]


class Covered(NamedTuple):
    """The units that cost nothing: by what is included, rolled over, and left of a block paid for earlier."""

    included: Decimal
    rolled_over: Decimal = NOTHING
    left_of_block: Decimal = NOTHING


class Terms(NamedTuple):
    """What the lines of one rating share where it is not a plain one of a whole period.

    `told` is how a line came about that no model made, `counted` how the quantity did where more than the usage
    decides on it.
    """

    kind: LineKind
    fraction: Fraction
    covered: Covered | None = None
    told: str | None = None
    counted: str | None = None


PLAIN = Terms("price", Fraction(1))


class RatedLine(NamedTuple):
    """`amount` is the least of (`quantity` x `unit_amount` + `flat_amount`) and `cap_amount`, x `fraction`, rounded once.

    `formula` says the same in a line of text, for people and for whoever wants to work it out again, such as
    `tier 2, above 50: 14 * 26 * 7/10 = 254.80 USD`; `≈` stands where the amount was rounded.
    `ordinal` is that of the tier or the matrix cell, from 1. A credit has a negative quantity and a positive price.
    `rounded` is the amount in major units.
    """

    price: Price
    part: Part
    rounded: Decimal
    terms: Terms = PLAIN

    @property
    def kind(self) -> LineKind:
        return self.terms.kind

    @property
    def fraction(self) -> Fraction:
        return self.terms.fraction

    @property
    def ordinal(self) -> int:
        return self.part[0]

    @property
    def quantity(self) -> Number:
        return self.part[1]

    @property
    def unit_amount(self) -> Number:
        return self.part[2]

    @property
    def flat_amount(self) -> Decimal:
        return self.part[3]

    @property
    def cap_amount(self) -> Decimal | None:
        return self.part[4]

    @property
    def counted_from(self) -> Number | None:
        return self.part[5]

    @property
    def amount(self) -> Money:
        """Raises: AmountTooLarge."""
        return Money.from_rounded(self.rounded, self.price.currency)

    @property
    def tier(self) -> int:
        """The ordinal of the tier from 1, or 0 where the price has no tiers."""
        return self.ordinal if self.price.tiers else 0

    @property
    def key(self) -> str:
        """What tells the lines of one price and period apart."""
        return str(self.ordinal) if self.kind == "price" else self.kind

    @property
    def exact(self) -> Fraction:
        full = add(multiply(self.quantity, self.unit_amount), self.flat_amount)
        if self.cap_amount is not None and full > self.cap_amount:
            full = self.cap_amount
        return Fraction(full) * self.fraction

    @property
    def shown_quantity(self) -> Decimal:
        """The quantity for people and e-invoices, the part of the period counted in.

        Rounding: half away from zero, to 6 decimals; the amount never comes from it.
        """
        return _shown(Fraction(self.quantity) * self.fraction, QUANTITY_DECIMALS)

    @property
    def shown_unit_amount(self) -> Decimal:
        """The unit amount for people and e-invoices.

        Rounding: half away from zero, to 12 decimals, which only a price worked out from usage ever needs.
        """
        if isinstance(self.unit_amount, Decimal):
            return self.unit_amount
        return _shown(self.unit_amount, PRICE_DECIMALS)

    @property
    def description(self) -> str:
        if self.kind == "price":
            cell = self.price.cells[self.ordinal - 1] if self.price.cells else None
            return f"{self.price.description}: {', '.join(cell.values)}" if cell else self.price.description
        return f"{self.price.description}: {LINE_WORDS[self.kind]}"

    @property
    def bounds(self) -> str:
        """Which units these are: `tier 2, above 50 up to 100`; empty where they are all."""
        if self.price.cells:
            return ", ".join(self.price.cells[self.ordinal - 1].values)
        if not self.price.tiers:
            return ""
        tiers = self.price.tiers
        lower = tiers[self.ordinal - 2].up_to if self.ordinal > 1 else None
        upper = tiers[self.ordinal - 1].up_to
        above = f"above {text(lower)}" if lower is not None else ""
        up_to = f"up to {text(upper)}" if upper is not None else ""
        told = " ".join(bound for bound in (above, up_to) if bound)
        return f"tier {self.ordinal}, {told}" if told else f"tier {self.ordinal}"

    @property
    def formula(self) -> str:
        if self.terms.told is not None:
            return f"{LINE_WORDS[self.kind]}: {self.terms.told}"
        which = ", ".join(words for words in (self._included_words(), self.bounds) if words)
        equals = "=" if Fraction(self.rounded) == self.exact else "≈"
        explained = f"{self._product()} {equals} {self.rounded} {self.price.currency}"
        return f"{which}: {explained}" if which else explained

    def _product(self) -> str:
        product = f"{self._counted()} * {_factor(self.unit_amount)}"
        if self.flat_amount:
            sign = "-" if self.flat_amount < 0 else "+"
            product = f"{product} {sign} {_factor(absolute(self.flat_amount))}"
        if self.cap_amount is not None:
            product = f"min({product}, {text(self.cap_amount)})"
        if self.fraction == 1:
            return product
        is_sum = bool(self.flat_amount) and self.cap_amount is None
        return f"({product}) * {self.fraction}" if is_sum else f"{product} * {self.fraction}"

    def _counted(self) -> str:
        if self.price.model != "package":
            return _factor(self.quantity)
        function = "ceil" if self.price.package_rounding == "up" else "floor"
        assert self.counted_from is not None
        assert self.price.package_size is not None
        return f"{function}({text(self.counted_from)} / {text(self.price.package_size)})"

    def _included_words(self) -> str:
        if self.terms.counted is not None:
            return self.terms.counted
        covered = self.terms.covered
        if covered is None:
            free: Number = self.price.included_quantity
            if self.price.cells and self.counted_from is not None:
                free = subtract(self.counted_from, self.quantity)
            return f"after {text(free)} included" if free else ""
        named = zip(covered, ("included", "rolled over", "of an earlier block"), strict=True)
        told = " and ".join(f"{text(units)} {words}" for units, words in named if units)
        return f"after {told}" if told else ""


LINE_WORDS = {
    "minimum": "up to the minimum",
    "maximum": "beyond the maximum",
    "shortfall": "short of the quantity committed to",
}


def _factor(number: Number) -> str:
    """A fraction stands in brackets, so that it stays one number among operators."""
    told = text(number)
    return f"({told})" if "/" in told else told


def _shown(exact: Fraction, decimals: int) -> Decimal:
    return Decimal(text(Decimal(round_half_away(exact, decimals)).scaleb(-decimals)))

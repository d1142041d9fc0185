"""What rating gives: one line for each tier of a price, rounded once, with the sum it came from."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from libs.common.money import Money, round_half_away
from services.billing.domain.rating.exact import text

SHOWN_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class TierPart:
    """What a model found for one tier, before money: `quantity` at `unit_amount`, and once `flat_amount`.

    `tier` is its ordinal from 1, or 0 where the price has no tiers; `bounds` and `counted` say in words which
    units those are, `counted` so that it can be worked out again.
    """

    tier: int
    quantity: Decimal
    unit_amount: Decimal
    flat_amount: Decimal
    bounds: str
    counted: str


@dataclass(frozen=True, slots=True)
class RatedLine:
    """`amount` is (`quantity` x `unit_amount` + `flat_amount`) x `fraction`: `exact`, rounded once.

    `formula` says the same in a line of text, for people and for whoever wants to work it out again, such as
    `tier 2, above 50: 14 * 26 * 7/10 = 254.80 USD`; `≈` stands where the amount was rounded.
    """

    tier: int
    quantity: Decimal
    unit_amount: Decimal
    flat_amount: Decimal
    fraction: Fraction
    exact: Fraction
    amount: Money
    formula: str

    @property
    def shown_quantity(self) -> Decimal:
        """The quantity for people and e-invoices, the part of the period counted in.

        Rounding: half away from zero, to 6 decimals; the amount never comes from it.
        """
        exact = Fraction(self.quantity) * self.fraction
        return Decimal(text(Decimal(round_half_away(exact, SHOWN_DECIMALS)).scaleb(-SHOWN_DECIMALS)))

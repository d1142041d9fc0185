"""The least and the most that some prices come to together, or the whole plan, in a billing period or a year.

What is settled here is settled once, at the end of the commitment's period, over everything that was rated in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

from libs.common.errors import RuleViolation
from libs.common.exact import Number, add, multiply, plain, subtract, text
from libs.common.money import Money, total
from services.billing.domain.rating.bounds import WHOLE, find_bound, part_told
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import LINE_WORDS, NOTHING, LineKind

Per = Literal["period", "year"]


class CommitmentNotPriceable(RuleViolation):
    """A quantity short is priced at the unit price of its usage: there must be one."""

    code = "commitment_not_priceable"
    title = "A commitment to a quantity without a unit price"


@dataclass(frozen=True, slots=True)
class Commitment:
    """`price_codes` is empty where it is about the whole plan; `minimum_quantity` is of the one price it names."""

    code: str
    description: str
    currency: str
    price_codes: tuple[str, ...] = ()
    per: Per = "period"
    minimum_amount: Decimal | None = None
    minimum_quantity: Decimal | None = None
    maximum_amount: Decimal | None = None


class Spent(NamedTuple):
    """What one price came to in the commitment's period, once or in several parts: quantity and lines, rounded."""

    price: Price
    quantity: Number
    amount: Money


@dataclass(frozen=True, slots=True)
class CommitmentLine:
    """A row of its own. What is beyond the maximum has a negative quantity; the price is positive.

    `told` is how it came about, such as `100000 - 85000 = 15000; 15000 * 0.004305 ≈ 64.58 EUR`.
    """

    kind: LineKind
    commitment: Commitment
    quantity: Number
    unit_amount: Decimal
    amount: Money
    told: str

    @property
    def description(self) -> str:
        return f"{self.commitment.description}: {LINE_WORDS[self.kind]}"

    @property
    def formula(self) -> str:
        return f"{LINE_WORDS[self.kind]}: {self.told}"


def settle(
    commitment: Commitment, spent: Sequence[Spent], *, fraction: Fraction = WHOLE
) -> tuple[CommitmentLine, ...]:
    """The lines that bring what was spent up to the commitment, or down to its maximum; none where it lies between.

    Of `spent`, only the prices that the commitment names count. A quantity that is short comes first, and counts
    towards the minimum amount.
    Units: `fraction` is the part of the commitment's period that holds it: days in use, less whole days of the
    provider's outage, over its days; the quantity committed to is not rounded.
    Rounding: each line once, half away from zero.
    Raises: CommitmentNotPriceable, CurrencyMismatch.
    Source: R11; an outage of 12 days lowers 1,200,000 a year to 1,200,000 x 353/365.
    """
    counted = committed_spending(commitment, spent)
    lines: list[CommitmentLine] = []
    if commitment.minimum_quantity is not None:
        lines += _shortfall(commitment, commitment.minimum_quantity, counted, fraction)
    amount = total([*(s.amount for s in counted), *(line.amount for line in lines)], commitment.currency)
    bound = find_bound(commitment.minimum_amount, commitment.maximum_amount, amount, fraction)
    if bound is not None:
        unit_amount = abs(bound.difference.to_decimal())
        lines.append(
            CommitmentLine(bound.kind, commitment, bound.quantity, unit_amount, bound.difference, bound.told)
        )
    return tuple(lines)


def committed_spending(commitment: Commitment, spent: Sequence[Spent]) -> list[Spent]:
    """What counts towards the commitment."""
    return [part for part in spent if not commitment.price_codes or part.price.code in commitment.price_codes]


def _shortfall(
    commitment: Commitment, minimum: Decimal, spent: Sequence[Spent], fraction: Fraction
) -> list[CommitmentLine]:
    unit_amount = unit_amount_of(commitment, spent)
    quantity: Number = NOTHING
    for part in spent:
        quantity = add(quantity, part.quantity)
    short = plain(subtract(multiply(minimum, fraction), quantity))
    if short <= 0:
        return []
    exact = Fraction(short) * Fraction(unit_amount)
    amount = Money.from_decimal(exact, commitment.currency)
    equals = "=" if Fraction(amount.to_decimal()) == exact else "≈"
    told = (
        f"{part_told(minimum, fraction)} - {text(quantity)} = {text(short)}; "
        f"{text(short)} * {text(unit_amount)} {equals} {amount.to_decimal()} {amount.currency}"
    )
    return [CommitmentLine("shortfall", commitment, short, unit_amount, amount, told)]


def unit_amount_of(commitment: Commitment, spent: Sequence[Spent]) -> Decimal:
    """What a unit that is short costs. Raises: CommitmentNotPriceable."""
    prices = {part.price.id: part.price for part in spent}
    unit_amounts = [price.unit_amount for price in prices.values() if price.model == "per_unit"]
    if len(prices) == 1 and unit_amounts and unit_amounts[0] is not None:
        return unit_amounts[0]
    raise CommitmentNotPriceable(
        "a commitment to a quantity is about one price per unit, of which it is known what it came to",
        pointer="/price_codes",
        remedy="Name the code of one price per unit, or commit to an amount.",
        commitment=commitment.code,
    )

"""From the lines of a commitment to their explanation, as that of a price."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from libs.common.money import exponent, total
from services.billing.domain.rating.bounds import WHOLE
from services.billing.domain.rating.commitment import (
    Commitment,
    CommitmentLine,
    Spent,
    committed_spending,
    settle,
)
from services.billing.domain.rating.derivation import Derivation, Known
from services.billing.domain.rating.explanation import COMMITMENT, ExplainedLine, Explanation
from services.billing.domain.rating.rated_line import LINE_WORDS


def explain_commitment(
    commitment: Commitment, spent: Sequence[Spent], *, fraction: Fraction = WHOLE
) -> Explanation:
    """The derivation of every line that `settle` gives for the same arguments."""
    at = Derivation()
    decimals = exponent(commitment.currency)
    counted = committed_spending(commitment, spent)
    amounts = [
        at.given(f"amount_{number}", part.amount.to_decimal(), f"what {part.price.code} came to")
        for number, part in enumerate(counted, start=1)
    ]
    settled = settle(commitment, spent, fraction=fraction)
    lines: list[ExplainedLine] = []
    for line in settled:
        if line.kind == "shortfall":
            found = _shortfall(line, counted, at, fraction, decimals)
        else:
            found = _bounded(line, amounts, at, fraction, decimals)
        assert found.value == line.amount.to_decimal(), "an explanation comes to what was settled"
        amounts.append(found)
        amount = str(line.amount.to_decimal())
        lines.append(ExplainedLine(line.kind, 0, LINE_WORDS[line.kind], at.take_steps(), amount))
    return Explanation(
        price_code=commitment.code,
        description=commitment.description,
        model=COMMITMENT,
        currency=commitment.currency,
        currency_decimals=decimals,
        inputs=tuple(at.inputs),
        steps=(),
        lines=tuple(lines),
        amount=str(total((line.amount for line in settled), commitment.currency).to_decimal()),
    )


def _shortfall(
    line: CommitmentLine, spent: Sequence[Spent], at: Derivation, fraction: Fraction, decimals: int
) -> Known:
    assert line.commitment.minimum_quantity is not None
    used = [at.given(f"quantity_{number}", part.quantity) for number, part in enumerate(spent, start=1)]
    quantity = at.step("used", "sum", *used, says="used")
    committed = at.given("minimum_quantity", line.commitment.minimum_quantity, "the quantity committed to")
    committed = _part_of(committed, at, fraction)
    short = at.step("short", "-", committed, quantity, says="short")
    amount = at.step("amount", "*", short, at.given("unit_amount", line.unit_amount, "for each unit"))
    return at.step("rounded", "round", amount, Decimal(decimals), says="to the minor unit")


def _bounded(
    line: CommitmentLine, amounts: Sequence[Known], at: Derivation, fraction: Fraction, decimals: int
) -> Known:
    terms = line.commitment
    bound = terms.minimum_amount if line.kind == "minimum" else terms.maximum_amount
    assert bound is not None
    known = _part_of(at.given(f"{line.kind}_amount", bound, f"the {line.kind}"), at, fraction)
    known = at.step(f"{line.kind}_rounded", "round", known, Decimal(decimals), says="to the minor unit")
    return at.step("difference", "-", known, at.step("so_far", "sum", *amounts, says="what it came to"))


def _part_of(known: Known, at: Derivation, fraction: Fraction) -> Known:
    if fraction == 1:
        return known
    return at.step(
        "committed", "*", known, at.given("fraction", fraction, "the part of the time"), says="of a part"
    )

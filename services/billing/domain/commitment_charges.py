"""What a billing period comes to more, or less, because of a commitment: settled when everything else of it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

from libs.common.exact import EXACT
from libs.common.money import Money, total
from libs.common.periods import days_between
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import WHOLE, Charge, charge_id, with_amount
from services.billing.domain.rating.commitment import Commitment, CommitmentLine, Spent, settle
from services.billing.domain.rating.price import Price
from services.billing.domain.terms import PeriodTerms

COUNTED = frozenset({"advance", "arrears", "usage", "once"})


def commitment_charges(
    agreement: Agreement, terms: PeriodTerms, charges: Sequence[Charge], *, now: datetime
) -> list[Charge]:
    """The charges that bring what was charged for a period up to what was committed to, or down to the most.

    `charges` are all of the period. A repeat finds nothing to add; where something of the period has been charged or
    given back since, the difference is charged or given back.
    Units: a commitment holds for the local days in which something is agreed on, over those of the whole period.
    Rounding: each line once, half away from zero.
    """
    if terms.period.kind == "trial":
        return []
    return [
        charge
        for commitment in terms.commitments
        if commitment.per == "period" and commitment.currency == agreement.currency
        for charge in charges_of(
            commitment, agreement, terms, charges, fraction=part_agreed_on(agreement, terms), now=now
        )
    ]


def charges_of(
    commitment: Commitment,
    agreement: Agreement,
    terms: PeriodTerms,
    charges: Sequence[Charge],
    *,
    fraction: Fraction,
    now: datetime,
) -> Iterator[Charge]:
    """What is missing of one commitment, which holds for `fraction` of its time: that of `terms`, a period or a year."""
    recorded = [c for c in charges if c.kind == "commitment" and c.price.code == commitment.code]
    spent = _spent(commitment, agreement, terms, charges)
    lines = settle(commitment, spent, fraction=fraction) if spent and fraction else ()
    priced = spent[0].price if spent else None
    if not recorded:
        for revision, line in enumerate(lines):
            yield _charge(commitment, agreement, terms, priced, revision, _of_line(line), now=now)
        return
    owed = total((line.amount for line in lines), agreement.currency)
    known = total((charge.amount for charge in recorded), agreement.currency)
    if owed != known:
        told = f"{owed.to_decimal()} - {known.to_decimal()}"
        difference = owed - known
        sign = Decimal(1) if difference.amount_minor > 0 else Decimal(-1)
        told = f"{told} = {difference.to_decimal()}"
        more = (commitment.description, sign, abs(difference.to_decimal()), told)
        yield _charge(commitment, agreement, terms, recorded[0].price, len(recorded), more, now=now)


def _spent(
    commitment: Commitment, agreement: Agreement, terms: PeriodTerms, charges: Sequence[Charge]
) -> list[Spent]:
    """What counts towards it, price by price; a price that was agreed on and charged nothing counts as nothing."""
    counted = [charge for charge in charges if charge.kind in COUNTED and _is_named(commitment, charge.price)]
    found = [Spent(charge.price, _quantity(charge), charge.amount) for charge in counted]
    known = {charge.price.id for charge in counted}
    nothing = Money.zero(agreement.currency)
    for segment in terms.segments:
        if segment.price.id not in known and _is_named(commitment, segment.price):
            known.add(segment.price.id)
            found.append(Spent(segment.price, Decimal(0), nothing))
    return found


def _is_named(commitment: Commitment, price: Price) -> bool:
    return not commitment.price_codes or price.code in commitment.price_codes


def _quantity(charge: Charge) -> Decimal | Fraction:
    """What a charge added; in part of a period, as much less."""
    added = EXACT.subtract(charge.quantity, charge.quantity_before or Decimal(0))
    return added if charge.fraction == 1 else Fraction(added) * charge.fraction


def part_agreed_on(agreement: Agreement, terms: PeriodTerms) -> Fraction:
    """The local days of the period in which something is agreed on, over all days of the whole period."""
    whole = terms.period.whole
    days = days_between(whole.start_on, whole.end_on, agreement.zone)
    return Fraction(min(days_agreed_on(agreement, terms), days), days) if days else Fraction(0)


def days_agreed_on(agreement: Agreement, terms: PeriodTerms) -> int:
    """The local days of the period in which something is agreed on."""
    used, last_on = 0, terms.period.whole.start_on
    for start_on, end_on in sorted(_spans(terms)):
        used += days_between(max(start_on, last_on), end_on, agreement.zone)
        last_on = max(last_on, end_on)
    return used


def _spans(terms: PeriodTerms) -> Iterator[tuple[date, date]]:
    for segment in terms.segments:
        if segment.price.kind != "one_time" and segment.start < segment.end:
            yield segment.start_on, max(segment.start_on, segment.end_on)


Line = tuple[str, Decimal, Decimal, str]  # description, quantity, unit amount, how it came about


def _of_line(line: CommitmentLine) -> Line:
    quantity = line.quantity
    if isinstance(quantity, Decimal):
        return line.description, quantity, line.unit_amount, line.formula
    return line.description, Decimal(1), line.amount.to_decimal(), line.formula


def _charge(
    commitment: Commitment,
    agreement: Agreement,
    terms: PeriodTerms,
    priced: Price | None,
    revision: int,
    line: Line,
    *,
    now: datetime,
) -> Charge:
    description, quantity, unit_amount, told = line
    price = Price(
        id=commitment.code,
        code=commitment.code,
        product_id=priced.product_id if priced is not None and commitment.price_codes else "",
        description=description,
        kind="one_time",
        timing="arrears",
        model="per_unit",
        currency=agreement.currency,
        unit_amount=unit_amount,
        tax_behavior="exclusive" if priced is None else priced.tax_behavior,
        tax_category=None if priced is None else priced.tax_category,
    )
    period = terms.period
    charge = Charge(
        id=charge_id(agreement.id, commitment.code, period.index, "commitment", revision),
        subscription_id=agreement.id,
        item_id=agreement.id,
        price=price,
        period_index=period.index,
        kind="commitment",
        revision=revision,
        quantity=max(quantity, Decimal(0)),
        fraction=WHOLE,
        service_start=period.start,
        service_end=period.end,
        service_start_on=period.start_on,
        service_end_on=period.end_on,
        amount=Money.zero(agreement.currency),
        created_at=now,
        basis=told,
    )
    if quantity < 0:
        charge = replace(charge, quantity_before=-quantity, is_end=True)
    return with_amount(charge)

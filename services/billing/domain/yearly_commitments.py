"""What a year comes to more, or less, because of a commitment: settled with the last of its periods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from fractions import Fraction

from libs.common.periods import boundary, days_between, index_on
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import Charge
from services.billing.domain.commitment_charges import charges_of, days_agreed_on
from services.billing.domain.intervals import YEAR
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.terms import PeriodTerms


@dataclass(frozen=True, slots=True)
class CommittedYear:
    """The periods of a year in which a commitment was agreed on, and whether the last one settles it."""

    commitment: Commitment
    terms: tuple[PeriodTerms, ...]
    is_over: bool

    @property
    def last(self) -> PeriodTerms:
        return self.terms[-1]


def yearly(terms: PeriodTerms | None, currency: str) -> tuple[Commitment, ...]:
    if terms is None or terms.period.kind == "trial":
        return ()
    return tuple(c for c in terms.commitments if c.per == "year" and c.currency == currency)


def committed_year(
    agreement: Agreement, commitment: Commitment, known: Mapping[int, PeriodTerms], index: int
) -> CommittedYear:
    """The year of period `index`, as far as its periods are `known`, and agreed on with the same commitment.

    Years are counted from the anchor. One is over with the period that reaches its end, or after which nothing, or
    another commitment, is agreed on.
    """
    year = _year_of(agreement, known[index])

    def belongs(at: int) -> bool:
        terms = known.get(at)
        return (
            terms is not None
            and commitment in yearly(terms, agreement.currency)
            and _year_of(agreement, terms) == year
        )

    first = last = index
    while belongs(first - 1):
        first -= 1
    while belongs(last + 1):
        last += 1
    return CommittedYear(
        commitment,
        tuple(known[at] for at in range(first, last + 1)),
        _is_over(agreement, commitment, known, last),
    )


def _is_over(
    agreement: Agreement, commitment: Commitment, known: Mapping[int, PeriodTerms], last: int
) -> bool:
    terms, after = known[last], known.get(last + 1)
    if terms.period.end_on >= boundary(_anchor(agreement), YEAR, _year_of(agreement, terms) + 1):
        return True
    if agreement.ends_at is not None and agreement.ends_at <= terms.period.end:
        return True
    agreed = agreement.commitments if after is None else after.commitments
    return commitment not in agreed


def year_charges(
    agreement: Agreement, year: CommittedYear, charges: Sequence[Charge], *, now: datetime
) -> Iterator[Charge]:
    """The charges that bring what was charged in a year up to what was committed to, or down to the most.

    `charges` are all of its periods. A repeat finds nothing to add; where something of the year has been charged or given
    back since, the difference is. What a unit that is short costs is its price in the last of the periods.
    Units: a commitment holds for the local days in which something is agreed on, over those of the year.
    Rounding: each line once, half away from zero.
    Source: R11.
    """
    first, last = year.terms[0].period, year.last.period
    number = _year_of(agreement, year.last)
    starts_on, ends_on = (boundary(_anchor(agreement), YEAR, at) for at in (number, number + 1))
    days = days_between(starts_on, ends_on, agreement.zone)
    agreed = sum(days_agreed_on(agreement, terms) for terms in year.terms)
    indexes = {terms.period.index for terms in year.terms}
    newest = {
        c.price.code: c.price for c in sorted(charges, key=lambda c: c.period_index) if c.kind != "commitment"
    }
    newest |= {segment.price.code: segment.price for terms in year.terms for segment in terms.segments}
    whole = replace(
        year.last,
        period=replace(last, start=first.start, start_on=first.start_on, full=None),
        segments=tuple(
            replace(segment, price=newest[segment.price.code])
            for terms in year.terms
            for segment in terms.segments
        ),
    )
    of_year = [
        charge if charge.kind == "commitment" else replace(charge, price=newest[charge.price.code])
        for charge in charges
        if charge.period_index in indexes
    ]
    fraction = Fraction(min(agreed, days), days)
    yield from charges_of(year.commitment, agreement, whole, of_year, fraction=fraction, now=now)


def _anchor(agreement: Agreement) -> date:
    assert agreement.anchor_on is not None, "a year is counted from an anchor"
    return agreement.anchor_on


def _year_of(agreement: Agreement, terms: PeriodTerms) -> int:
    return index_on(_anchor(agreement), YEAR, terms.period.start_on)

"""Closed windows with what was charged for them → what is missing, in them and in those that depend on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.periods import local_date, period_at
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import Agreement, BilledPeriod, Bounds
from services.billing.domain.charge import Charge, UsageOfPeriod
from services.billing.domain.commitment_charges import commitment_charges
from services.billing.domain.intervals import YEAR, times
from services.billing.domain.invoice import invoice_id
from services.billing.domain.rating.price import Price
from services.billing.domain.terms import PeriodTerms, plain_terms
from services.billing.domain.usage_charges import ItemPrice, carries_on, is_billed, is_pooled, metered_in
from services.billing.domain.usage_difference import WindowUsage, usage_differences
from services.billing.domain.yearly_commitments import (
    CommittedYear,
    committed_year,
    year_charges,
    yearly,
)

PERIODS_OF_A_YEAR_MAX = 366


async def missing_usage_charges(
    agreement: Agreement, usage: UsageOfPeriod, *, is_first: bool, now: datetime, uow: UnitOfWork
) -> list[Charge]:
    """The charges that bring a closed window to what its newest totals come to, and others with it.

    A true-up puts right what was charged for windows before this one. Unless it is charged for the first time, what free
    units it leaves, and what later readings found of its estimates, decides on windows after it.
    Raises: UsageOfUnknownItem.
    """
    window = await window_of(agreement, usage, uow=uow)
    windows = [*await _estimated_before(agreement, window, uow=uow), window]
    if not is_first:
        windows += await _decided_by(agreement, windows, uow=uow)
    first = windows[0]
    earlier = await earlier_usage(agreement, first.usage, first.terms, uow=uow)
    after = None
    if any(is_pooled(agreement, price) for window in windows for price in _metered_by(agreement, window)):
        after = await uow.period_terms.find(agreement.id, windows[-1].usage.period_index + 1)
    return usage_differences(agreement, windows, now=now, earlier=earlier, after=after)


async def missing_of_pools(
    agreement: Agreement, begins: int, *, now: datetime, uow: UnitOfWork
) -> list[Charge]:
    """What is missing of the pooled allowances of the period before the one with index `begins`, once it was charged for.

    A price that is agreed on no longer from there on, with effect in the past, is settled there.
    """
    before = await uow.usage_windows.find(agreement.id, begins - 1)
    if before is None:
        return []
    recorded = await uow.charges.usage_of_period(agreement.id, begins - 1)
    if not has_closed(recorded) or not any(c.allowance and c.allowance.pool for c in recorded):
        return []
    charges = await missing_usage_charges(agreement, before, is_first=False, now=now, uow=uow)
    return charges + await missing_commitments(agreement, charges, now=now, uow=uow)


def _metered_by(agreement: Agreement, window: WindowUsage) -> list[Price]:
    return [found.price for found in metered_in(agreement, window.usage, window.terms).values()]


async def missing_commitments(
    agreement: Agreement, charges: Sequence[Charge], *, now: datetime, uow: UnitOfWork
) -> list[Charge]:
    """What commitments come to more or less because of charges that are about to be added, period by period."""
    found: list[Charge] = []
    for index in sorted({charge.period_index for charge in charges}):
        terms = await uow.period_terms.find(agreement.id, index)
        if terms is None and agreement.commitments:
            usage = await uow.usage_windows.find(agreement.id, index)
            assert usage is not None, "what is put right was counted"
            terms = plain_terms(agreement, period_of(usage, agreement))
        if terms is None or not terms.commitments:
            continue
        known = {charge.id: charge for charge in await uow.charges.of_period(agreement.id, index)}
        of_period = {c.id: c for c in [*known.values(), *charges] if c.period_index == index}
        found += commitment_charges(agreement, terms, list(of_period.values()), now=now)
        for year in await _years_of(agreement, terms, uow=uow):
            if year.is_over and await _is_settled(agreement, year, uow=uow):
                found += await missing_of_year(agreement, year, [*charges, *found], now=now, uow=uow)
    return list({charge.id: charge for charge in found}.values())


async def missing_yearly_commitments(
    agreement: Agreement, index: int, *, now: datetime, uow: UnitOfWork
) -> list[Charge]:
    """What commitments by the year come to more or less once all of the period is known: of years that end with it.

    And of one that another commitment took the place of while this period went on: it ended with the period before.
    """
    terms = await uow.period_terms.find(agreement.id, index)
    if terms is None:
        return []
    found: list[Charge] = []
    before = None
    if index and any(commitment.per == "year" for commitment in (*agreement.commitments, *terms.commitments)):
        before = await uow.period_terms.find(agreement.id, index - 1)
    years = await _years_of(agreement, terms, uow=uow)
    if before is not None:
        agreed = {year.commitment for year in years}
        years += [y for y in await _years_of(agreement, before, uow=uow) if y.commitment not in agreed]
    for year in years:
        if year.is_over and (year.last.period.index <= index or await _is_settled(agreement, year, uow=uow)):
            found += await missing_of_year(agreement, year, found, now=now, uow=uow)
    return found


async def _years_of(agreement: Agreement, terms: PeriodTerms, *, uow: UnitOfWork) -> list[CommittedYear]:
    """The year of a period, for each of its commitments by the year."""
    commitments = yearly(terms, agreement.currency)
    if not commitments or agreement.anchor_on is None or agreement.interval is None:
        return []
    count, index = times(YEAR, agreement.interval) or PERIODS_OF_A_YEAR_MAX, terms.period.index
    known = await uow.period_terms.of_periods(agreement.id, max(index - count, 0), index + count + 1)
    return [committed_year(agreement, commitment, known, index) for commitment in commitments]


async def _is_settled(agreement: Agreement, year: CommittedYear, *, uow: UnitOfWork) -> bool:
    document = await uow.invoices.find_for_update(invoice_id(agreement.id, year.last.period.end))
    return document is not None and not document.awaits_window


async def missing_of_year(
    agreement: Agreement,
    year: CommittedYear,
    more: Sequence[Charge],
    *,
    now: datetime,
    uow: UnitOfWork,
) -> list[Charge]:
    """`more` are charges that are about to be added."""
    first, last = year.terms[0].period.index, year.last.period.index
    charges = {c.id: c for c in await uow.charges.of_periods(agreement.id, first, last + 1)}
    charges |= {c.id: c for c in more if first <= c.period_index <= last}
    return list(year_charges(agreement, year, list(charges.values()), now=now))


async def window_of(agreement: Agreement, usage: UsageOfPeriod, *, uow: UnitOfWork) -> WindowUsage:
    index = usage.period_index
    return WindowUsage(
        usage=await uow.usage_windows.newest(usage),
        recorded=tuple(await uow.charges.usage_of_period(agreement.id, index)),
        terms=await uow.period_terms.find(agreement.id, index),
    )


def has_closed(charges: Sequence[Charge]) -> bool:
    """Whether the usage of a period was charged for when its window had closed: before, a part of it may have been."""
    return any(charge.kind == "usage" and charge.usage_window_id is not None for charge in charges)


def is_carried_on(agreement: Agreement, usage: UsageOfPeriod, terms: PeriodTerms | None) -> bool:
    """Whether free units of the window are left for the next."""
    if not is_billed(agreement, terms, usage):
        return False
    return any(carries_on(agreement, found.price) for found in metered_in(agreement, usage, terms).values())


def puts_right(usage: UsageOfPeriod) -> bool:
    """Whether a reading in this window puts right what was estimated before it."""
    return any(total.true_ups for total in usage.totals)


def has_estimates(usage: UsageOfPeriod) -> bool:
    """Whether a later reading may put right what was used in this window."""
    return any(total.estimated_quantity for total in usage.totals)


def period_of(usage: UsageOfPeriod, agreement: Agreement) -> BilledPeriod:
    """The period of a window that no terms tell of: it is as long as its window, and a part of the anchor's."""
    start_on, end_on = (local_date(at, agreement.zone) for at in (usage.window_start, usage.window_end))
    full = None
    if agreement.anchor_on is not None and agreement.interval is not None:
        whole = period_at(agreement.anchor_on, agreement.interval, agreement.zone, usage.window_start)
        full = Bounds(whole.start_on, whole.end_on, whole.start, whole.end)
    return BilledPeriod(usage.period_index, start_on, end_on, usage.window_start, usage.window_end, full=full)


async def _estimated_before(
    agreement: Agreement, window: WindowUsage, *, uow: UnitOfWork
) -> list[WindowUsage]:
    """Those back to the reading before the estimates that this window puts right, as far as they were charged here."""
    starts = [true_up.start for total in window.usage.totals for true_up in total.true_ups]
    found: list[WindowUsage] = []
    usage = window.usage
    while starts and usage.window_start > min(starts):
        before = await uow.usage_windows.find(agreement.id, usage.period_index - 1)
        if before is None:
            break
        known = await window_of(agreement, before, uow=uow)
        if not has_closed(known.recorded):
            break
        found.insert(0, known)
        usage = before
    return found


async def _decided_by(
    agreement: Agreement, windows: Sequence[WindowUsage], *, uow: UnitOfWork
) -> list[WindowUsage]:
    """The windows after these that go on from them, as far as they were charged."""
    found: list[WindowUsage] = []
    last = windows[-1]
    while has_estimates(last.usage) or is_carried_on(agreement, last.usage, last.terms):
        after = await uow.usage_windows.find(agreement.id, last.usage.period_index + 1)
        if after is None:
            break
        last = await window_of(agreement, after, uow=uow)
        if not has_closed(last.recorded):
            break
        found.append(last)
    return found


async def earlier_usage(
    agreement: Agreement, usage: UsageOfPeriod, terms: PeriodTerms | None, *, uow: UnitOfWork
) -> dict[ItemPrice, Charge]:
    """The last charges before this usage for prices of which free units last longer than a charge."""
    found: dict[ItemPrice, Charge] = {}
    for key, metered in metered_in(agreement, usage, terms).items():
        if carries_on(agreement, metered.price):
            last = await uow.charges.last_usage(*key, before=usage.period_index)
            if last is not None:
                found[key] = last
    return found

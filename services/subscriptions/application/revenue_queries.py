"""Recurring revenue, month by month and movement by movement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from libs.common.clock import Clock
from libs.common.errors import RuleViolation
from libs.common.periods import Interval, boundary, index_on
from services.subscriptions.application.ports import RevenueFilter, UnitOfWork
from services.subscriptions.domain.recurring_revenue import RevenueMonth

MONTH = Interval("month")
MONTHS_MAX, MONTHS_SHOWN = 120, 12


class RevenueMonthsReversed(RuleViolation):
    code = "revenue_months_reversed"
    title = "The last month lies before the first"


class RevenueTimeTooLong(RuleViolation):
    code = "revenue_time_too_long"
    title = "More months than one answer has"


class RevenueCurrencyNeeded(RuleViolation):
    code = "revenue_currency_needed"
    title = "There is revenue in several currencies"


@dataclass(frozen=True, slots=True)
class RevenueTime:
    """From the first day of a month until before that of another."""

    start_on: date
    end_on: date

    @property
    def last_month(self) -> date:
        return boundary(self.end_on, MONTH, -1)


@dataclass(frozen=True, slots=True)
class RevenueView:
    """`months` of one currency, and all of them as one."""

    currency: str
    months: tuple[RevenueMonth, ...]
    total: RevenueMonth


def revenue_time(first: date | None, last: date | None, clock: Clock) -> RevenueTime:
    """`first` and `last` are the first days of months, both shown; by default the twelve that end with `last`, or now.

    Raises: RevenueMonthsReversed, RevenueTimeTooLong.
    """
    last = last or (
        boundary(first, MONTH, MONTHS_SHOWN - 1) if first else clock.system_now().date().replace(day=1)
    )
    first = first or boundary(last, MONTH, 1 - MONTHS_SHOWN)
    if last < first:
        raise RevenueMonthsReversed("to is a month before from", pointer="/to")
    if index_on(first, MONTH, last) >= MONTHS_MAX:
        raise RevenueTimeTooLong(
            f"an answer has {MONTHS_MAX} months at most", pointer="/to", remedy="Ask in parts."
        )
    return RevenueTime(first, boundary(last, MONTH, 1))


async def revenue_by_month(
    wanted: RevenueFilter, time: RevenueTime, *, uow: UnitOfWork
) -> Sequence[RevenueView]:
    """By currency, of those in which there was any revenue until then. Currencies are never added up."""
    found = await uow.revenue.months(wanted, time.start_on, time.end_on)
    return [RevenueView(total.currency, tuple(months), total) for months, total in found]


async def revenue_in_one_currency(
    wanted: RevenueFilter, time: RevenueTime, *, uow: UnitOfWork
) -> RevenueView | None:
    """None where there was no revenue until then.

    Raises: RevenueCurrencyNeeded.
    """
    found = await revenue_by_month(wanted, time, uow=uow)
    if len(found) > 1:
        raise RevenueCurrencyNeeded(
            "a chart is of one currency",
            pointer="/currency",
            currencies=[view.currency for view in found],
            remedy="Name one of them (?currency=EUR).",
        )
    return found[0] if found else None

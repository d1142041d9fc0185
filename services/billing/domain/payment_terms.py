"""When an invoice is to be paid: so many days after it is issued, or after its month; on a business day if so wished."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, Protocol

CountedFrom = Literal["issue", "month_end"]
DueDayRule = Literal["calendar", "next_business_day"]

FREE_DAYS_MAX = 31
ONE_DAY = timedelta(days=1)


class BusinessCalendar(Protocol):
    """Which days are business days in one country."""

    def is_business_day(self, day: date) -> bool: ...


@dataclass(frozen=True, slots=True)
class PaymentTerms:
    """`days` after the date of issue, or after the last day of its month."""

    days: int
    counted_from: CountedFrom = "issue"


def due_date(issued_on: date, terms: PaymentTerms, *, calendar: BusinessCalendar | None = None) -> date:
    """The day on which an invoice is due; with a `calendar`, the first business day from there on.

    A country in which a month has no business day is a fault in its calendar: the day then stays what it was.
    """
    start = issued_on if terms.counted_from == "issue" else month_end(issued_on)
    due_on = start + timedelta(days=terms.days)
    if calendar is None:
        return due_on
    days = (due_on + timedelta(days=ahead) for ahead in range(FREE_DAYS_MAX))
    return next((day for day in days if calendar.is_business_day(day)), due_on)


def month_end(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])

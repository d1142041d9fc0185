"""Proration: which part of a period's price is owed when only a part of the period is in use.

How parts are counted is the business's choice for each agreement: `ProrationOptions`. From when a boundary inside a
period counts is decided in agreed_levels.py; here the part between two boundaries is measured.
"""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal

from libs.common.periods import (
    InstantOutsidePeriod,
    Interval,
    Period,
    days_in_use,
)
from libs.common.periods import boundary as nth_boundary
from services.billing.domain.rating.price import Proration

DayCount = Literal["actual", "thirty_day_months"]

MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class ProrationOptions:
    """How parts of a period are counted for an agreement; the first of each is what holds unless it is said.

    `day_count`: actual days, or months of 30 days each. `change_day`, `end_day`: whether the day of a change belongs to
    the new state or to the old one, and whether the day on which the agreement ends is still in use. `stub`: what a first
    part is measured against. `credits_to`: whether a credit stands on the next invoice or goes to the customer's balance.
    """

    day_count: DayCount = "actual"
    change_day: Literal["new", "old"] = "new"
    end_day: Literal["unused", "used"] = "unused"
    stub: Literal["anchored", "unclamped"] = "anchored"
    credits_to: Literal["next_invoice", "balance"] = "next_invoice"


AS_USUAL = ProrationOptions()


def fraction_in_use(
    *, used: Period, full: Period, method: Proration, options: ProrationOptions = AS_USUAL
) -> Fraction:
    """The part of the price of `full`, a whole billing period counted from its anchor, that `used` owes.

    `day`: local days in use over local days of the full period, also for a first or last part: from 15 to 31
    January are 17/31. The day of a change belongs to what comes after it; the day of return is not in use.
    Where months have 30 days, both are counted so.
    `second`: time elapsed. `none`: a part costs nothing. `full`: a part costs the whole.
    Units: an exact fraction from 0 to 1; a period without a day (a date that its zone skipped) owes nothing.
    Raises: InstantOutsidePeriod when `used` is not inside `full`.
    """
    if not full.start <= used.start <= used.end <= full.end:
        raise InstantOutsidePeriod("cannot prorate", start=used.start, end=used.end)
    if method == "full":
        return Fraction(1)
    if method == "none":
        return Fraction(1) if (used.start, used.end) == (full.start, full.end) else Fraction(0)
    if method == "second":
        return _part(used.length_us, full.length_us)
    if options.day_count == "thirty_day_months":
        days_of_full = days_of_fixed_months(full.start_on, full.end_on)
        if days_of_full:  # a day from 30 to 31 is none of them: it is counted as it is
            return _part(days_of_fixed_months(used.start_on, used.end_on), days_of_full)
    return _part(days_in_use(used), days_in_use(full))


def measured_against(
    *, used: Period, full: Period, interval: Interval, options: ProrationOptions = AS_USUAL
) -> Period:
    """What `used`, the first part of an agreement, is a part of: `full`, or what begins on the unclamped date before it.

    With an anchor on the 31st, the part that ends on 28 February is a part of 31 January to 28 February, or of 28 January
    to 28 February: one interval back from its end. What is used whole is whole either way.
    """
    if options.stub == "anchored" or used.start <= full.start:
        return full
    return Period.between(nth_boundary(full.end_on, interval, -1), full.end_on, full.zone)


def days_of_fixed_months(start_on: date, end_on: date, *, month_days: int = MONTH_DAYS) -> int:
    """The days from `start_on` until before `end_on` where every month has `month_days`, whatever the calendar says.

    A date after the month's last day counts as that day: the 31st as the 30th. 28 February is followed by two days more.
    Units: days. Source: 30E/360, known as Eurobond basis.
    """
    return _day_number(end_on, month_days) - _day_number(start_on, month_days)


def _day_number(on: date, month_days: int) -> int:
    return (12 * on.year + on.month) * month_days + min(on.day, month_days)


def _part(used: int, full: int) -> Fraction:
    return Fraction(used, full) if full else Fraction(0)

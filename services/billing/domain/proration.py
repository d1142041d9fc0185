"""Proration: which part of a period's price is owed when only a part of the period is in use."""

from fractions import Fraction

from libs.common.periods import InstantOutsidePeriod, Period, days_in_use
from services.billing.domain.rating.price import Proration


def fraction_in_use(*, used: Period, full: Period, method: Proration) -> Fraction:
    """The part of the price of `full`, a whole billing period counted from its anchor, that `used` owes.

    `day`: local days in use over local days of the full period, also for a first or last part: from 15 to 31
    January are 17/31. The day of a change belongs to what comes after it; the day of return is not in use.
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
    return _part(days_in_use(used), days_in_use(full))


def _part(used: int, full: int) -> Fraction:
    return Fraction(used, full) if full else Fraction(0)

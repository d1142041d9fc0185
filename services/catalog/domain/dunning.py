"""What becomes of an invoice that is not paid: a plan's schedule of tries, reminders, suspension and end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from libs.common.errors import InputError

STEPS_MAX = 10
RETRY_DAYS_MAX = 365
DAYS_MAX = 730


@dataclass(frozen=True, slots=True)
class Dunning:
    """A schedule, as data. Units: `retry_days` are days of 24 hours after each failed try, all others local dates after
    the invoice's due date.

    `retry_days` of None are the operator's. Subscriptions are suspended when the retries end, or
    `suspend_after_days`; not at all where `suspends` is false. `end_after_days` of None is never. What is due is
    written off at the end if `writes_off`.
    """

    retry_days: tuple[int, ...] | None = None
    reminder_days: tuple[int, ...] = ()
    suspends: bool = True
    suspend_after_days: int | None = None
    end_after_days: int | None = None
    writes_off: bool = False


AS_BY_DEFAULT = Dunning()


def dunning_faults(terms: Dunning, at: str, *, is_add_on: bool) -> Iterator[InputError]:
    """Everything wrong with the schedule, each with its place below the pointer `at` and what to do."""
    if is_add_on and terms != AS_BY_DEFAULT:
        yield {
            "pointer": at,
            "detail": "an add-on is dunned with the plan that it goes with: leave dunning out",
        }
    yield from _retry_faults(terms, f"{at}/retry_days")
    yield from _reminder_faults(terms, f"{at}/reminder_days")
    if terms.suspend_after_days is not None:
        yield from _day_faults(terms.suspend_after_days, f"{at}/suspend_after_days")
        if not terms.suspends:
            detail = "nothing is suspended where suspends is false: leave one of the two out"
            yield {"pointer": f"{at}/suspend_after_days", "detail": detail}
    yield from _end_faults(terms, at)


def _retry_faults(terms: Dunning, at: str) -> Iterator[InputError]:
    days = terms.retry_days or ()
    if len(days) > STEPS_MAX:
        yield {"pointer": at, "detail": f"there are at most {STEPS_MAX} retries: leave some out"}
    for position, day in enumerate(days):
        if not 1 <= day <= RETRY_DAYS_MAX:
            detail = f"is not from 1 to {RETRY_DAYS_MAX}: give the days after the failed try before it"
            yield {"pointer": f"{at}/{position}", "detail": detail}


def _reminder_faults(terms: Dunning, at: str) -> Iterator[InputError]:
    days = terms.reminder_days
    if len(days) > STEPS_MAX:
        yield {"pointer": at, "detail": f"there are at most {STEPS_MAX} reminders: leave some out"}
    for position, day in enumerate(days):
        if not 0 <= day <= DAYS_MAX:
            yield {
                "pointer": f"{at}/{position}",
                "detail": f"is not from 0 to {DAYS_MAX}: give days after the due date",
            }
    for position, (earlier, later) in enumerate(pairwise(days), start=1):
        if later <= earlier:
            detail = "does not come after the reminder before it: give the days in rising order, each once"
            yield {"pointer": f"{at}/{position}", "detail": detail}


def _day_faults(days: int, at: str) -> Iterator[InputError]:
    if not 1 <= days <= DAYS_MAX:
        yield {"pointer": at, "detail": f"is not from 1 to {DAYS_MAX}: give days after the due date"}


def _end_faults(terms: Dunning, at: str) -> Iterator[InputError]:
    """The end is the last step of all, so that nobody is reminded of what is over."""
    ends = terms.end_after_days
    if ends is None:
        if terms.writes_off:
            detail = "what is due is written off at the end: give end_after_days, or leave writes_off out"
            yield {"pointer": f"{at}/writes_off", "detail": detail}
        return
    yield from _day_faults(ends, f"{at}/end_after_days")
    suspends = terms.suspend_after_days
    if suspends is not None and ends <= suspends:
        detail = f"comes no later than suspend_after_days ({suspends}): let it end after that"
        yield {"pointer": f"{at}/end_after_days", "detail": detail}
    if terms.reminder_days and ends <= terms.reminder_days[-1]:
        detail = f"comes no later than the last reminder ({terms.reminder_days[-1]}): let it end after that"
        yield {"pointer": f"{at}/end_after_days", "detail": detail}
    if terms.retry_days and ends < sum(terms.retry_days):
        detail = (
            f"comes before the last retry, after {sum(terms.retry_days)} days: end later, or retry sooner"
        )
        yield {"pointer": f"{at}/end_after_days", "detail": detail}

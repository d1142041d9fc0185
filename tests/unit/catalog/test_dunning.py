"""A schedule of dunning is in order and within bounds; all that is wrong with one is told at once."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from services.catalog.domain.dunning import Dunning, dunning_faults


class Case(NamedTuple):
    name: str
    terms: Dunning
    faults: tuple[str, ...]
    is_add_on: bool = False


CASES = [
    #    name                       terms                                                      faults
    Case("the_default",             Dunning(),                                                 ()),
    Case("all_of_it",               Dunning((1, 3), (0, 3, 10), True, 11, 60, True),           ()),
    Case("no_retries",              Dunning(retry_days=(), end_after_days=1),                  ()),
    Case("retries_as_long_as_all",  Dunning(retry_days=(1, 3), end_after_days=4),              ()),
    Case("retries_beyond_the_end",  Dunning(retry_days=(1, 3), end_after_days=3),              ("/end_after_days",)),
    Case("a_retry_at_once",         Dunning(retry_days=(1, 0)),                                ("/retry_days/1",)),
    Case("eleven_retries",          Dunning(retry_days=(1,) * 11),                             ("/retry_days",)),
    Case("a_reminder_before",       Dunning(reminder_days=(-1, 3)),                            ("/reminder_days/0",)),
    Case("reminders_out_of_order",  Dunning(reminder_days=(3, 3, 1)),           ("/reminder_days/1", "/reminder_days/2")),
    Case("eleven_reminders",        Dunning(reminder_days=tuple(range(11))),                   ("/reminder_days",)),
    Case("suspended_at_once",       Dunning(suspend_after_days=0),                             ("/suspend_after_days",)),
    Case("suspended_in_two_years",  Dunning(suspend_after_days=730),                           ()),
    Case("suspended_later",         Dunning(suspend_after_days=731),                           ("/suspend_after_days",)),
    Case("suspends_not_but_when",   Dunning(suspends=False, suspend_after_days=3),             ("/suspend_after_days",)),
    Case("ends_when_suspended",     Dunning(suspend_after_days=9, end_after_days=9),           ("/end_after_days",)),
    Case("ends_with_a_reminder",    Dunning(reminder_days=(3, 9), end_after_days=9),           ("/end_after_days",)),
    Case("ends_unsuspended",        Dunning(suspends=False, end_after_days=9),                 ()),
    Case("writes_off_no_end",       Dunning(writes_off=True),                                  ("/writes_off",)),
    Case("an_add_on",               Dunning(end_after_days=9),                                 ("",), True),
    Case("an_add_on_says_nothing",  Dunning(),                                                 (), True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_with_a_schedule(case: Case) -> None:
    faults = list(dunning_faults(case.terms, "/dunning", is_add_on=case.is_add_on))
    assert tuple(fault["pointer"] for fault in faults) == tuple(f"/dunning{at}" for at in case.faults)
    assert all(": " in fault["detail"] for fault in faults)

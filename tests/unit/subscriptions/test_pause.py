"""Pauses: begun, planned, ended, and what is agreed on meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from services.subscriptions.domain.pause import (
    AlreadyPaused,
    NotPaused,
    PauseReversed,
    begin_pause,
    plan_pause,
    resume,
    resume_on,
    withdraw_pause,
)
from services.subscriptions.domain.period_terms import terms_of
from services.subscriptions.domain.renewal import Changed, DueFacts, Renewed, decide_due
from services.subscriptions.domain.subscription import Pause, Subscription, TransitionNotAllowed
from tests.support.subscriptions import TENANT, utc
from tests.unit.subscriptions.life import running, scheduled, told

NOW = utc("2025-06-11")
END = utc("2025-07-01")


def a_pause(start: str, end: str | None = None) -> Pause:
    starts, ends = utc(start), utc(end) if end is not None else None
    return Pause(starts, starts.date(), ends, ends.date() if ends is not None else None)


def paused(start: str = "2025-06-11", end: str | None = None) -> Subscription:
    return begin_pause(plan_pause(running(), a_pause(start, end), NOW))


def seats(subscription: Subscription) -> list[tuple[object, object]]:
    assert subscription.period is not None
    terms = told(terms_of(subscription, subscription.period, is_over=False))
    return [(start, end) for code, _, start, end in terms if code == "seats"]


def test_from_its_beginning_nothing_is_agreed_on() -> None:
    assert paused().state == "paused"
    assert seats(paused()) == [(utc("2025-06-01"), NOW)]
    assert paused().touched == {0}


def test_after_its_end_all_is_agreed_on_again() -> None:
    over = resume(paused(), utc("2025-06-21"))
    assert over.state == "active"
    assert seats(over) == [(utc("2025-06-01"), NOW), (utc("2025-06-21"), END)]


def test_one_that_is_known_to_end_leaves_the_rest_of_the_period() -> None:
    assert seats(paused(end="2025-06-21")) == [(utc("2025-06-01"), NOW), (utc("2025-06-21"), END)]


def test_two_in_one_period_leave_what_is_between() -> None:
    first = resume(paused(), utc("2025-06-16"))
    second = begin_pause(plan_pause(first, a_pause("2025-06-21"), utc("2025-06-21")))
    assert seats(second) == [(utc("2025-06-01"), NOW), (utc("2025-06-16"), utc("2025-06-21"))]


def test_a_planned_one_changes_nothing_until_it_begins_by_itself() -> None:
    planned = plan_pause(running(), a_pause("2025-06-20", "2025-07-05"), NOW).changed()
    assert (planned.state, planned.due_at, seats(planned)) == ("active", utc("2025-06-20"), seats(running()))
    begun = decide_due(planned, utc("2025-06-20"), DueFacts(TENANT))
    assert isinstance(begun, Changed)
    assert (begun.kind, begun.subscription.state) == ("paused", "paused")
    renewed = decide_due(begun.subscription, END, DueFacts(TENANT))
    assert isinstance(renewed, Renewed)
    assert seats(renewed.subscription) == [(utc("2025-07-05"), utc("2025-08-01"))]
    resumed = decide_due(renewed.subscription, utc("2025-07-05"), DueFacts(TENANT))
    assert isinstance(resumed, Changed)
    assert (resumed.kind, resumed.subscription.state) == ("resumed", "active")


def test_one_with_effect_in_the_past_touches_the_periods_that_it_reaches_into() -> None:
    subscription = running()
    assert subscription.period is not None
    later = replace(subscription, period=subscription.calendar.after(subscription.period))
    back = begin_pause(plan_pause(later, a_pause("2025-06-20"), utc("2025-07-10")), first_touched=0)
    assert back.touched == {0, 1}
    assert resume(replace(back, touched=frozenset()), utc("2025-06-25"), first_touched=0).touched == {0, 1}


def test_there_is_one_at_a_time() -> None:
    with pytest.raises(AlreadyPaused):
        plan_pause(paused(), a_pause("2025-06-25"), NOW)


@pytest.mark.parametrize(
    ("start", "end"),
    [("2025-06-20", "2025-06-20"), ("2025-06-01", "2025-06-11"), ("2025-05-31", None)],
)
def test_it_ends_later_than_it_begins_and_than_now_and_begins_in_the_agreement(
    start: str, end: str | None
) -> None:
    with pytest.raises(PauseReversed):
        plan_pause(running(), a_pause(start, end), NOW)


def test_it_begins_no_earlier_than_the_last_one_ended() -> None:
    over = resume(paused(), utc("2025-06-16"))
    with pytest.raises(PauseReversed):
        plan_pause(over, a_pause("2025-06-15"), utc("2025-06-20"))
    assert plan_pause(over, a_pause("2025-06-16"), utc("2025-06-20")).pause is not None


def test_what_does_not_run_is_not_paused() -> None:
    with pytest.raises(TransitionNotAllowed) as refused:
        plan_pause(scheduled(), a_pause("2025-06-20"), NOW)
    assert refused.value.facts["moves"] == ["change", "cancel"]


def test_what_is_not_paused_is_not_resumed() -> None:
    planned = plan_pause(running(), a_pause("2025-06-20"), NOW)
    for subscription in (running(), planned):
        with pytest.raises(NotPaused):
            resume(subscription, NOW)
    with pytest.raises(PauseReversed):
        resume(paused(), utc("2025-06-10"))
    assert withdraw_pause(planned).pauses == ()
    for subscription in (running(), paused()):
        with pytest.raises(NotPaused):
            withdraw_pause(subscription)


def test_its_end_is_set_moved_and_taken_back() -> None:
    ends = resume_on(paused(), utc("2025-06-21"), date(2025, 6, 21))
    assert ends.due_at == utc("2025-06-21")
    assert resume_on(ends, None, None).due_at == END
    with pytest.raises(PauseReversed):
        resume_on(ends, NOW, NOW.date())
    with pytest.raises(NotPaused):
        resume_on(running(), END, END.date())

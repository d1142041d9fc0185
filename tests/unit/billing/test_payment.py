"""One attempt after another, by the schedule, until one succeeds or the schedule ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import Money
from services.billing.domain.payment import (
    ACTION_AWAITED,
    Collected,
    Declined,
    PaymentAttempt,
    Pending,
    another_attempt,
    asked_sooner,
    brought_forward,
    claimed,
    ended,
    first_attempt,
    following_attempt,
    in_process,
    lessened,
    overdue_action,
)

NOW = datetime(2025, 2, 1, 6, tzinfo=UTC)
DAY = timedelta(days=1)
RETRY_DAYS = (1, 3, 5, 7)
DUE = Money(100, "EUR")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def an_attempt() -> PaymentAttempt:
    return first_attempt("inv_1", "cus_1", Money(100, "EUR"), now=NOW, clock_id="clk_1", trace=TRACE)


def failed(number: int) -> PaymentAttempt:
    attempt = an_attempt()
    while attempt.number < number:
        attempt = another_attempt(attempt, due=attempt.amount, due_at=NOW, now=NOW)
    return ended(attempt, Declined("no"), now=NOW)


def test_the_first_is_due_at_once() -> None:
    attempt = an_attempt()
    assert (attempt.state, attempt.number, attempt.due_at) == ("pending", 1, NOW)
    assert attempt.is_open


@pytest.mark.parametrize(
    ("number", "days"), [(1, 1), (2, 3), (3, 5), (4, 7), (5, None), (6, None)], ids=lambda value: str(value)
)
def test_the_schedule(number: int, days: int | None) -> None:
    following = following_attempt(failed(number), due=DUE, retry_days=RETRY_DAYS, now=NOW)
    if days is None:
        assert following is None
        return
    assert following is not None
    assert (following.number, following.state, following.due_at) == (number + 1, "pending", NOW + days * DAY)
    assert (following.clock_id, following.traceparent) == ("clk_1", TRACE)
    assert (following.amount, following.payment_method_id) == (Money(100, "EUR"), None)


def test_without_a_schedule_there_is_one_try() -> None:
    assert following_attempt(failed(1), due=DUE, retry_days=(), now=NOW) is None


def test_what_was_credited_meanwhile_is_not_tried_for() -> None:
    following = following_attempt(failed(1), due=Money(40, "EUR"), retry_days=RETRY_DAYS, now=NOW)
    assert following is not None
    assert following.amount == Money(40, "EUR")
    assert following_attempt(failed(1), due=Money(0, "EUR"), retry_days=RETRY_DAYS, now=NOW) is None


def test_a_waiting_attempt_asks_for_what_is_left_or_for_nothing_at_all() -> None:
    less = lessened(an_attempt(), Money(40, "EUR"), reason="credited", now=NOW)
    assert (less.state, less.amount, less.due_at, less.version) == ("pending", Money(40, "EUR"), NOW, 2)
    none = lessened(an_attempt(), Money(0, "EUR"), reason="credited", now=NOW)
    assert (none.state, none.reason, none.due_at, none.ended_at) == ("canceled", "credited", None, NOW)
    assert not none.is_open


def test_a_claim_names_its_method_for_good() -> None:
    until = NOW + timedelta(seconds=30)
    first = claimed(an_attempt(), until=until, payment_method_id="pm_1")
    assert (first.state, first.claimed_until, first.payment_method_id) == ("calling", until, "pm_1")
    assert first.is_open
    again = claimed(first, until=until + DAY, payment_method_id="pm_2")
    assert (again.payment_method_id, again.version) == ("pm_1", first.version + 1)


@pytest.mark.parametrize(
    ("outcome", "state", "reference", "reason"),
    [(Collected("ref"), "succeeded", "ref", None), (Declined("no funds"), "failed", None, "no funds")],
)
def test_an_outcome_ends_an_attempt(
    outcome: Collected | Declined, state: str, reference: str | None, reason: str | None
) -> None:
    calling = claimed(an_attempt(), until=NOW + DAY, payment_method_id="pm_1")
    over = ended(calling, outcome, now=NOW)
    assert (over.state, over.gateway_reference, over.reason) == (state, reference, reason)
    assert (over.due_at, over.claimed_until, over.ended_at) == (None, None, NOW)
    assert not over.is_open


@pytest.mark.parametrize(("due_in", "expected"), [(DAY, NOW), (-DAY, NOW - DAY), (timedelta(0), NOW)])
def test_a_waiting_attempt_is_brought_forward_and_never_put_off(
    due_in: timedelta, expected: datetime
) -> None:
    waiting = another_attempt(failed(1), due=DUE, due_at=NOW + due_in, now=NOW)
    assert brought_forward(waiting, now=NOW).due_at == expected


@given(days=st.lists(st.integers(1, 365), max_size=6))
def test_a_schedule_ends_and_never_goes_back(days: list[int]) -> None:
    attempt, now, tried = an_attempt(), NOW, []
    while True:
        tried.append((attempt.number, attempt.id))
        over = ended(attempt, Declined("no"), now=now)
        following = following_attempt(over, due=DUE, retry_days=days, now=now)
        if following is None:
            break
        assert following.due_at is not None
        assert following.due_at > now
        attempt, now = following, following.due_at
    assert [number for number, _ in tried] == list(range(1, len(days) + 2))
    assert len({id for _, id in tried}) == len(tried)
    assert now - NOW == sum(days) * DAY


def processing(*, needs_action: bool = False) -> PaymentAttempt:
    calling = claimed(an_attempt(), until=NOW + DAY, payment_method_id="pm_1", at=NOW)
    return in_process(calling, Pending("ref", needs_action), now=NOW)


def test_what_is_in_process_stays_open_and_is_asked_about_at_pauses_that_grow() -> None:
    attempt = processing()
    assert (attempt.state, attempt.is_open, attempt.was_called) == ("processing", True, True)
    assert (attempt.gateway_reference, attempt.claimed_until, attempt.called_at) == ("ref", None, NOW)
    pauses, now = [], NOW
    for _ in range(14):
        assert attempt.due_at is not None
        pauses.append(attempt.due_at - now)
        now = attempt.due_at
        again = claimed(attempt, until=now + DAY, payment_method_id="pm_2", at=now)
        assert (again.payment_method_id, again.called_at) == ("pm_1", NOW)
        attempt = in_process(again, Pending("ref"), now=now)
    assert pauses[:3] == [timedelta(minutes=1), timedelta(minutes=1), timedelta(minutes=2)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == DAY


def test_news_brings_it_forward_and_never_back() -> None:
    attempt = processing()
    assert asked_sooner(attempt, now=NOW).due_at == NOW
    assert asked_sooner(attempt, now=NOW + DAY).due_at == attempt.due_at


@pytest.mark.parametrize(
    ("needs_action", "after", "overdue"),
    [
        (True, ACTION_AWAITED, True),
        (True, ACTION_AWAITED - timedelta(microseconds=1), False),
        (False, 100 * ACTION_AWAITED, False),
    ],
)
def test_the_customer_has_his_time_and_a_bank_all_that_it_needs(
    needs_action: bool, after: timedelta, overdue: bool
) -> None:
    pending = Pending("ref", needs_action)
    attempt = processing(needs_action=needs_action)
    assert overdue_action(attempt, pending, now=NOW + after) is overdue
    assert not overdue_action(an_attempt(), pending, now=NOW + after)

"""Refunds: along which payments, and what each try brings about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money, total
from services.billing.domain.payment import RefundFailed, RefundOutcome, RefundPending, RefundSucceeded
from services.billing.domain.refund import (
    Refund,
    RefundSource,
    RefundState,
    RefundStateWrong,
    RefundUnderWay,
    along_payments,
    asked_sooner,
    came_back,
    canceled,
    claimed,
    is_over,
    opened,
    paid_by_hand,
    refund_id_of,
    released,
    tried_again,
    with_outcome,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RETRY_DAYS = (1, 3)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def a_refund(state: RefundState = "pending", **more: object) -> Refund:
    made = Refund("rfd_1", "cus_1", eur(5000), state, "Unhappy", NOW, payment_id="pmt_1", due_at=NOW)
    return replace(made, **more)  # type: ignore[arg-type]


class Cut(NamedTuple):
    name: str
    amount: int
    sources: tuple[tuple[str, int, bool], ...]
    parts: list[tuple[str | None, int, RefundState]]


CUTS = [
    Cut("one_payment", 5000, (("b", 9000, True),), [("b", 5000, "pending")]),
    Cut("all_of_it", 9000, (("b", 9000, True),), [("b", 9000, "pending")]),
    Cut(
        "newest_first",
        9001,
        (("c", 9000, True), ("b", 100, True)),
        [("c", 9000, "pending"), ("b", 1, "pending")],
    ),
    Cut(
        "a_transfer_is_for_a_person",
        150,
        (("c", 100, False), ("b", 100, True)),
        [("c", 100, "manual"), ("b", 50, "pending")],
    ),
    Cut(
        "beyond_what_payments_brought",
        150,
        (("b", 100, True),),
        [("b", 100, "pending"), (None, 50, "manual")],
    ),
    Cut("no_payment", 150, (), [(None, 150, "manual")]),
]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.name)
def test_along_payments(cut: Cut) -> None:
    sources = [RefundSource(id, eur(minor), by_gateway=gateway) for id, minor, gateway in cut.sources]
    parts = opened(a_refund(amount=eur(cut.amount)), along_payments(eur(cut.amount), sources))
    assert [(one.payment_id, one.amount.amount_minor, one.state) for one in parts] == cut.parts
    assert [one.due_at is not None for one in parts] == [one.state == "pending" for one in parts]
    assert len({one.id for one in parts}) == len(parts)


@settings(max_examples=50)
@given(st.integers(1, 10**9), st.lists(st.integers(1, 10**9), max_size=6))
def test_no_payment_gives_back_more_than_it_may(amount: int, brought: list[int]) -> None:
    sources = [RefundSource(f"pmt_{n}", eur(minor), by_gateway=True) for n, minor in enumerate(brought)]
    parts = along_payments(eur(amount), sources)
    assert total((part.amount for part in parts), "EUR") == eur(amount)
    for part in parts:
        assert part.source is None or part.amount.amount_minor <= part.source.amount.amount_minor
    left = next((part.amount.amount_minor for part in parts if part.source is None), 0)
    assert left == max(0, amount - sum(brought))


class Heard(NamedTuple):
    name: str
    before: Refund
    outcome: RefundOutcome
    state: RefundState
    try_number: int
    due_days: int | None


HEARD = [
    Heard("given_back", a_refund("calling"), RefundSucceeded("re_1"), "succeeded", 1, None),
    Heard("the_first_no", a_refund("calling"), RefundFailed("closed"), "pending", 2, 1),
    Heard("the_second_no", a_refund("calling", try_number=2), RefundFailed("closed"), "pending", 3, 3),
    Heard("the_last_no", a_refund("calling", try_number=3), RefundFailed("closed"), "failed", 3, None),
    Heard("it_came_back", a_refund("succeeded", ended_at=NOW), RefundFailed("closed"), "pending", 2, 1),
    Heard("it_is_there_still", a_refund("succeeded"), RefundSucceeded("re_1"), "succeeded", 1, None),
]


@pytest.mark.parametrize("case", HEARD, ids=lambda case: case.name)
def test_with_outcome(case: Heard) -> None:
    after = with_outcome(case.before, case.outcome, retry_days=RETRY_DAYS, now=NOW)
    due_at = None if case.due_days is None else NOW + timedelta(days=case.due_days)
    assert (after.state, after.try_number, after.due_at, after.claimed_until) == (
        case.state,
        case.try_number,
        due_at,
        None,
    )
    assert is_over(case.before, after) == (case.name == "given_back")
    assert came_back(case.before, case.outcome) == (case.name == "it_came_back")


def test_what_the_gateway_takes_up_is_asked_about_in_growing_pauses() -> None:
    first = with_outcome(a_refund("calling"), RefundPending("re_1"), retry_days=(), now=NOW)
    later = with_outcome(first, RefundPending("re_1"), retry_days=(), now=NOW + timedelta(hours=2))
    last = with_outcome(later, RefundPending("re_1"), retry_days=(), now=NOW + timedelta(days=9))
    assert [one.due_at for one in (first, later, last)] == [
        NOW + timedelta(minutes=1),
        NOW + timedelta(hours=4),
        NOW + timedelta(days=10),
    ]
    assert {one.state for one in (first, later, last)} == {"processing"}


def test_a_try_has_a_key_of_its_own_only_once_the_last_one_is_known_to_have_failed() -> None:
    refund = a_refund()
    calling = claimed(refund, until=NOW)
    again = claimed(calling, until=NOW)
    failed = with_outcome(again, RefundFailed("closed"), retry_days=RETRY_DAYS, now=NOW)
    assert [one.key for one in (refund, calling, again, failed)] == ["rfd_1", "rfd_1", "rfd_1", "rfd_1-2"]
    assert refund_id_of(failed.key) == "rfd_1"


def test_a_claim_that_is_given_back_leaves_the_outcome_as_unknown_as_it_was() -> None:
    calling = claimed(a_refund(), until=NOW + timedelta(seconds=30))
    assert released(calling, was_called=False, now=NOW).state == "pending"
    unknown = released(calling, was_called=True, now=NOW)
    assert (unknown.state, unknown.claimed_until) == ("calling", NOW)


OPEN: tuple[RefundState, ...] = ("pending", "failed", "manual")


@pytest.mark.parametrize("state", [*OPEN, "calling", "processing", "succeeded", "canceled"])
def test_a_person_settles_only_what_nobody_is_asked_for(state: RefundState) -> None:
    refund = a_refund(state)
    if state in OPEN:
        assert paid_by_hand(refund, reference="SEPA 1", now=NOW).state == "succeeded"
        assert canceled(refund, now=NOW).state == "canceled"
        return
    expected = RefundUnderWay if state in ("calling", "processing") else RefundStateWrong
    with pytest.raises(expected):
        paid_by_hand(refund, reference="SEPA 1", now=NOW)
    with pytest.raises(expected):
        canceled(refund, now=NOW)


def test_what_came_back_and_is_paid_by_hand_is_another_fact() -> None:
    came = with_outcome(a_refund("succeeded", ended_at=NOW), RefundFailed("closed"), retry_days=(), now=NOW)
    assert (came.state, came.key) == ("failed", "rfd_1")
    assert paid_by_hand(came, reference="SEPA 1", now=NOW).try_number == 2


def test_trying_again() -> None:
    waiting = a_refund(due_at=NOW + timedelta(days=3), try_number=2)
    assert (tried_again(waiting, now=NOW).due_at, tried_again(waiting, now=NOW).key) == (NOW, "rfd_1-2")
    assert tried_again(a_refund("failed", try_number=3, due_at=None), now=NOW).key == "rfd_1-4"
    for state in ("manual", "succeeded", "canceled"):
        with pytest.raises(RefundStateWrong):
            tried_again(a_refund(state), now=NOW)
    for state in ("calling", "processing"):
        with pytest.raises(RefundUnderWay):
            tried_again(a_refund(state), now=NOW)


def test_news_makes_only_what_the_gateway_has_due() -> None:
    processing = a_refund("processing", due_at=NOW + timedelta(days=1), gateway_reference="re_1")
    assert asked_sooner(processing, now=NOW).due_at == NOW
    gone = a_refund("succeeded", due_at=None, gateway_reference="re_1")
    assert asked_sooner(gone, now=NOW).due_at == NOW
    for other in (a_refund("manual"), a_refund("succeeded", paid_reference="SEPA 1"), a_refund("calling")):
        assert asked_sooner(other, now=NOW) is other

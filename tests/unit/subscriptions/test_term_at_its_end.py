"""What the clock brings about when a minimum term is over, and the reminders before that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from libs.common.periods import Interval, start_of_day
from services.subscriptions.domain.agree import Parties, Terms, agree
from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.cancellation import (
    CancellationAfterTerm,
    EndChanged,
    cancel_at,
    withdraw_cancellation,
    withdraw_from,
)
from services.subscriptions.domain.pause import begin_pause, plan_pause, resume
from services.subscriptions.domain.renewal import (
    Changed,
    DueFacts,
    Ended,
    NotDue,
    Outcome,
    Reminded,
    Renewed,
    decide_due,
)
from services.subscriptions.domain.subscription import Pause, Subscription
from services.subscriptions.domain.subscription_item import ItemSegment, Offer, OfferedPrice, items_of
from services.subscriptions.domain.term_reminders import term_reminders
from tests.support.subscriptions import NOW, TENANT, a_calendar, a_subscription, an_item

ZONE = "Europe/Amsterdam"
HALF_YEAR, MONTH = Interval("month", 6), Interval("month")
STEP_DOWN = Offer(
    plan_version_id="plv_lower",
    plan_code="lower",
    plan_name="Lower",
    prices=(OfferedPrice("prc_lower", "fee", "recurring", None),),
    interval=MONTH,
    currency="EUR",
)
ITEM = replace(
    an_item(), id="", price_id="prc_fee", price_code="fee", kind="recurring", meter=None, quantity=Decimal(3)
)


def on(text: str) -> date:
    return date.fromisoformat(text)


def at(text: str) -> datetime:
    return start_of_day(on(text), ZONE)


def agreed(starts_on: str = "2026-01-01", anchor_on: str = "2026-01-01", **changes: Any) -> Subscription:
    """Six months, billed monthly from the anchor on."""
    term = replace(AgreedTerm(HALF_YEAR, on(starts_on), on(starts_on)).begun(on(starts_on)), **changes)
    subscription = a_subscription(a_calendar(anchor_on, zone=ZONE), currency="EUR")
    offer = replace(
        STEP_DOWN, plan_version_id="plv_first", prices=(OfferedPrice("prc_fee", "fee", "recurring", None),)
    )
    items = items_of(offer, {"fee": Decimal(3)}, tenant=TENANT, subscription_id=subscription.id)
    return replace(
        subscription,
        segments=tuple(ItemSegment(item, at(starts_on), on(starts_on)) for item in items),
        term=term,
        reminders=term_reminders(term, ZONE, after=at(starts_on)),
    )


def live(subscription: Subscription, until: str, facts: DueFacts | None = None) -> Iterator[Outcome]:
    """As by a clock that stops wherever something is due."""
    while (now := subscription.due_at) is not None and now <= at(until):
        outcome = decide_due(subscription, now, facts or DueFacts(TENANT))
        assert not isinstance(outcome, NotDue)
        subscription = outcome.subscription
        yield outcome


def last(subscription: Subscription, until: str, facts: DueFacts | None = None) -> Outcome:
    return list(live(subscription, until, facts))[-1]


def test_it_renews_itself_with_the_period_that_begins_then() -> None:
    outcome = last(agreed(on_end="renew"), "2026-07-01")
    assert isinstance(outcome, Renewed)
    term = outcome.subscription.term
    assert term is not None
    assert (term.starts_on, term.ends_on, term.renewals) == (on("2026-07-01"), on("2027-01-01"), 1)


def test_it_renews_itself_inside_of_a_period() -> None:
    outcome = last(agreed("2026-01-15", on_end="renew"), "2026-07-15")
    assert isinstance(outcome, Changed)
    assert outcome.at == at("2026-07-15")
    assert outcome.subscription.term is not None
    assert outcome.subscription.term.ends_on == on("2027-01-15")
    assert isinstance(last(outcome.subscription, "2026-08-01"), Renewed)


def test_it_goes_on_without_one() -> None:
    outcome = last(agreed(notice=MONTH), "2026-09-01")
    term = outcome.subscription.term
    assert term is not None
    assert term.is_over
    assert term.notice == MONTH
    assert outcome.subscription.term_edge is None
    assert outcome.subscription.ends_at is None


def test_it_ends_with_its_term() -> None:
    outcome = last(agreed("2026-01-15", on_end="end"), "2026-12-01")
    assert isinstance(outcome, Ended)
    assert (outcome.ended_at, outcome.reason) == (at("2026-07-15"), "term_end")
    with pytest.raises(CancellationAfterTerm):
        cancel_at(agreed(on_end="end"), at("2026-08-01"), at("2026-02-01"))


def test_it_steps_down_with_the_period_that_begins_then_and_leaves_no_part_of_one() -> None:
    stepping = agreed(on_end="step_down", step_down_plan_version_id="plv_lower")
    facts = DueFacts(TENANT, term_offer=STEP_DOWN)
    outcome = last(stepping, "2026-07-01", facts)
    assert isinstance(outcome, Renewed)
    assert outcome.applied == ()
    after = outcome.subscription
    assert after.plan_code == "lower"
    assert [(item.price_id, item.quantity) for item in after.items] == [("prc_lower", Decimal(3))]
    assert [segment.start for segment in after.segments] == [at("2026-01-01"), at("2026-07-01")]
    assert after.term is not None
    assert after.term.is_over
    assert isinstance(last(after, "2026-08-01"), Renewed)


def test_it_steps_down_on_the_day_on_which_its_term_ends_inside_of_a_period() -> None:
    stepping = agreed("2026-01-15", on_end="step_down", step_down_plan_version_id="plv_lower")
    outcome = last(stepping, "2026-07-15", DueFacts(TENANT, term_offer=STEP_DOWN))
    assert isinstance(outcome, Changed)
    (terms,) = outcome.terms
    assert [(part.item.price_id, part.start_on, part.end_on) for part in terms.segments] == [
        ("prc_fee", on("2026-07-01"), on("2026-07-15")),
        ("prc_lower", on("2026-07-15"), on("2026-08-01")),
    ]


def test_a_term_agreed_on_to_follow_begins_with_its_plan() -> None:
    following = AgreedTerm(
        Interval("year"), date(1, 1, 1), date(1, 1, 1), on_end="renew", reminder_days=(30,)
    )
    renewed_by_hand = agreed(on_end="end", following=following, following_plan_version_id="plv_lower")
    assert renewed_by_hand.ends_at is None
    outcome = last(renewed_by_hand, "2026-07-01", DueFacts(TENANT, term_offer=STEP_DOWN))
    assert isinstance(outcome, Renewed)
    assert outcome.subscription.plan_code == "lower"
    term = outcome.subscription.term
    assert term is not None
    assert (term.starts_on, term.ends_on, term.renewals) == (on("2026-07-01"), on("2027-07-01"), 1)
    assert [reminder.at for reminder in outcome.subscription.reminders] == [at("2027-06-01")]


def test_reminders_come_before_each_end_of_a_term() -> None:
    reminding = agreed(on_end="renew", reminder_days=(60, 30))
    told = [
        (outcome.reminder.at, outcome.reminder.days_before, outcome.reminder.about)
        for outcome in live(reminding, "2027-01-01")
        if isinstance(outcome, Reminded)
    ]
    assert told == [
        (at("2026-05-02"), 60, at("2026-07-01")),
        (at("2026-06-01"), 30, at("2026-07-01")),
        (at("2026-11-02"), 60, at("2027-01-01")),
        (at("2026-12-02"), 30, at("2027-01-01")),
    ]


def test_nobody_is_reminded_of_what_is_over_when_it_is_caught_up_with() -> None:
    behind = agreed(on_end="renew", reminder_days=(60, 30))
    now, told = at("2026-12-15"), []
    while not isinstance(outcome := decide_due(behind, now, DueFacts(TENANT)), NotDue):
        behind = outcome.subscription
        told += [outcome.reminder.about] if isinstance(outcome, Reminded) else []
    assert told == [at("2027-01-01"), at("2027-01-01")]
    assert behind.term is not None
    assert behind.term.renewals == 1


def test_nobody_is_reminded_of_a_renewal_that_was_canceled() -> None:
    reminding = agreed(on_end="renew", reminder_days=(30,))
    canceled = cancel_at(reminding, at("2026-07-01"), at("2026-02-01"))
    assert isinstance(canceled, EndChanged)
    outcomes = list(live(canceled.subscription, "2026-12-01"))
    assert not [outcome for outcome in outcomes if isinstance(outcome, Reminded)]
    assert isinstance(outcomes[-1], Ended)
    running_on = withdraw_cancellation(canceled.subscription, at("2026-03-01")).subscription
    assert [type(outcome) for outcome in live(running_on, "2026-06-01")].count(Reminded) == 1


def test_a_pause_makes_the_term_longer_and_its_reminders_later() -> None:
    reminding = agreed("2026-01-15", on_end="renew", reminder_days=(30,))
    planned = plan_pause(reminding, Pause(at("2026-01-20"), on("2026-01-20")), at("2026-01-20"))
    paused = begin_pause(planned)
    assert paused.term_edge is None
    resumed = resume(paused, at("2026-01-30"))
    assert resumed.term is not None
    assert resumed.term.ends_on == on("2026-07-25")
    assert [reminder.at for reminder in resumed.reminders] == [at("2026-06-25")]


def test_a_pause_does_not_bring_back_a_term_that_is_over() -> None:
    free = agreed("2025-07-01", is_over=True)
    planned = plan_pause(free, Pause(at("2026-01-20"), on("2026-01-20")), at("2026-01-20"))
    assert resume(begin_pause(planned), at("2026-01-30")).term == free.term


def test_a_pause_under_way_with_an_end_lets_the_term_end_that_much_later() -> None:
    pause = Pause(at("2026-06-20"), on("2026-06-20"), at("2026-07-10"), on("2026-07-10"))
    planned = plan_pause(agreed(on_end="end"), pause, at("2026-01-20"))
    outcomes = list(live(planned, "2026-12-01"))
    assert isinstance(outcomes[-1], Ended)
    assert outcomes[-1].ended_at == at("2026-07-21")


def test_what_was_agreed_for_an_early_end_goes_with_the_cancellation() -> None:
    canceled = cancel_at(agreed(), at("2026-03-01"), at("2026-02-01"), quote_id="etq_1")
    assert isinstance(canceled, EndChanged)
    assert canceled.subscription.term is not None
    assert canceled.subscription.term.accepted_quote_id == "etq_1"
    moved = cancel_at(canceled.subscription, at("2026-03-15"), at("2026-02-01"), waiver="goodwill")
    assert moved.subscription.term is not None
    assert (moved.subscription.term.accepted_quote_id, moved.subscription.term.waiver) == (None, "goodwill")
    running_on = withdraw_cancellation(moved.subscription, at("2026-02-01")).subscription
    assert running_on.term == agreed().term


def test_a_withdrawal_gives_back_by_the_day_and_all_that_was_charged_once() -> None:
    subscription = agreed()
    delivery = replace(ITEM, id="si_delivery", kind="one_time")
    subscription = replace(
        subscription,
        segments=(*subscription.segments, ItemSegment(delivery, at("2026-01-01"), on("2026-01-01"))),
    )
    withdrawn = withdraw_from(subscription, at("2026-01-11"))
    outcome = last(withdrawn.subscription, "2026-01-11")
    assert isinstance(outcome, Ended)
    assert outcome.reason == "withdrawn"
    (terms,) = outcome.terms
    assert [(part.item.kind, part.end_on, part.end_proration) for part in terms.segments] == [
        ("recurring", on("2026-01-11"), "day")
    ]


def test_a_term_is_counted_from_the_start_of_billing() -> None:
    term = AgreedTerm(HALF_YEAR, date(1, 1, 1), date(1, 1, 1), reminder_days=(10,))
    terms = Terms(zone=ZONE, starts_on=on("2026-01-01"), trial=Interval("day", 14), term=term)
    subscription = agree(Parties("cus_1"), STEP_DOWN, [ITEM], terms, id="sub_1", created_at=NOW)
    assert subscription.term is not None
    assert (subscription.term.starts_on, subscription.term.ends_on) == (on("2026-01-15"), on("2026-07-15"))
    assert [reminder.at for reminder in subscription.reminders] == [at("2026-07-05")]

"""Plans with phases: with the period after its last one, the prices of the next phase take the place of its own."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from libs.common.periods import Interval
from services.subscriptions.domain.change import Change
from services.subscriptions.domain.renewal import DueChange, DueFacts, Renewed, decide_due
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import Offer, OfferedPhase, OfferedPrice
from tests.support.subscriptions import TENANT
from tests.unit.subscriptions.life import LARGE, SMALL, changed, running

PHASED = Offer(
    "plv_phased",
    "phased",
    "Phased",
    (
        OfferedPrice("p.intro", "intro", "recurring", None, "intro", "prd_seat"),
        OfferedPrice("p.full", "full", "recurring", None, "full", "prd_seat"),
        OfferedPrice("p.hello", "hello", "one_time", None, "full", "prd_hello"),
        OfferedPrice("p.help", "help", "recurring", None, None, "prd_help"),
    ),
    Interval("month"),
    "EUR",
    phases=(OfferedPhase("intro", 2), OfferedPhase("full", None)),
)


def phased() -> Subscription:
    begun = running(offer=replace(PHASED, prices=(OfferedPrice("x", "seats", "recurring", None),)))
    return changed(begun, "2025-06-01", offer=PHASED, quantities={"intro": Decimal(4)})


def renewed(subscription: Subscription, *changes: DueChange) -> Subscription:
    assert subscription.period is not None
    facts = DueFacts(TENANT, changes=changes, offer=PHASED)
    outcome = decide_due(subscription, subscription.period.end, facts)
    assert isinstance(outcome, Renewed)
    return outcome.subscription


def agreed(subscription: Subscription) -> dict[str, object]:
    return {item.price_id: item.quantity for item in subscription.items}


def test_the_next_phase_begins_with_the_period_after_the_last_one_and_keeps_the_quantity() -> None:
    first = phased()
    second = renewed(first)
    third = renewed(second)
    fourth = renewed(third)
    assert agreed(first) == agreed(second) == {"p.intro": Decimal(4), "p.help": Decimal(1)}
    assert agreed(third) == agreed(fourth) == {"p.full": Decimal(4), "p.help": Decimal(1)}
    assert [one.phase for one in (first, second, third, fourth)] == ["intro", "intro", "full", "full"]
    assert third.phase_ends_index is None


def test_what_the_next_phase_charges_once_is_charged_as_it_begins() -> None:
    third = renewed(renewed(phased()))
    assert third.period is not None
    (once,) = (segment for segment in third.segments if segment.item.kind == "one_time")
    assert (once.item.price_id, once.start) == ("p.hello", third.period.start)
    assert len([one for one in renewed(third).segments if one.item.kind == "one_time"]) == 1


def test_another_plan_leaves_the_phases_behind() -> None:
    after = changed(phased(), "2025-06-16T09:00", offer=LARGE)
    assert (after.phase, after.phase_ends_index) == (None, None)


def test_a_plan_that_is_changed_to_begins_with_its_first_phase() -> None:
    inside = changed(running(), "2025-06-16T09:00", offer=PHASED)
    assert (inside.phase, inside.phase_ends_index) == ("intro", 2)
    at_end = renewed(running(), DueChange("sch_1", None, Change(offer=PHASED)))
    assert (at_end.phase, at_end.phase_ends_index) == ("intro", 3)
    in_trial = changed(running(trial=Interval("day", 14)), "2025-06-05T09:00", offer=PHASED)
    assert (in_trial.phase, in_trial.phase_ends_index) == ("intro", 3)
    assert "p.intro" in agreed(inside)
    assert "p.full" not in agreed(inside)


def test_a_change_of_plan_at_the_end_of_the_last_period_of_a_phase_comes_first() -> None:
    second = renewed(phased())
    after = renewed(second, DueChange("sch_1", None, Change(offer=SMALL)))
    assert set(agreed(after)) == {"small.seats", "small.talk"}
    assert after.phase is None

"""Many subjects are bound at once, each with its own result."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.contracts.subscriptions import SubjectBoundV1, SubjectReleasedV1
from services.subscriptions.application.bind_subjects import (
    BindingsContended,
    BindSubject,
    Created,
    Overlapping,
    Rejected,
    Unchanged,
    bind_subjects,
)
from services.subscriptions.application.release_subject import ReleaseSubject, release_subject
from services.subscriptions.domain.subject_binding import BindingEndsEarlier, SubjectBindingNotFound
from services.subscriptions.domain.subscription import SubscriptionState
from tests.support.clocks import FixedClock
from tests.support.subscriptions import (
    MINUTES,
    TENANT,
    MemorySubscriptionsUnitOfWork,
    a_binding,
    a_subscription,
    a_test_clock,
    an_item,
    utc,
)

JAN, FEB, MAR = utc("2025-01-01"), utc("2025-02-01"), utc("2025-03-01")
SUBSCRIPTION = a_subscription().id


def to_item(subject: str = "N1", **changes: Any) -> BindSubject:
    named = {"item_id": "si_minutes", "bound_from": JAN, **changes}
    return BindSubject(subject=subject, meter=named.pop("meter", MINUTES), **named)


@pytest.fixture
def bound(uow: MemorySubscriptionsUnitOfWork) -> MemorySubscriptionsUnitOfWork:
    uow.test_clocks.add(a_test_clock())
    uow.subscriptions.add(a_subscription(test_clock_id=a_test_clock().id))
    return uow


async def test_each_has_its_result_and_the_good_part_is_kept(
    bound: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    results = await bind_subjects(
        [
            to_item("N1", bound_until=FEB),
            to_item("N1", bound_from=FEB),  # the next one begins where the first ends
            to_item("N1", bound_from=utc("2025-01-15"), bound_until=FEB),
            to_item("N2", item_id="si_other"),
            to_item("N3", item_id=None, subscription_id=SUBSCRIPTION),
            to_item("N4", bound_until=JAN),
        ],
        uow=bound,
        clock=clock,
    )
    first, second, third, fourth, fifth, sixth = results
    assert isinstance(first, Created)
    assert isinstance(second, Created)
    assert isinstance(third, Overlapping)
    assert third.binding == first.binding
    assert isinstance(fourth, Rejected)
    assert (fourth.error.code, fourth.error.pointer) == ("subscription_item_not_found", "/item_id")
    assert isinstance(fifth, Created)
    assert fifth.binding.item_id == "si_minutes"
    assert isinstance(sixth, Rejected)
    assert sixth.error.pointer == "/bound_until"
    assert set(bound.bindings.by_id) == {first.binding.id, second.binding.id, fifth.binding.id}
    events = bound.outbox.events
    assert len(events) == 3
    assert all(isinstance(event, SubjectBoundV1) for event in events)
    assert {(event.test_clock, event.occurred_at) for event in events} == {
        (a_test_clock().id, a_test_clock().now)
    }


async def test_binding_again_changes_nothing(bound: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    commands = [to_item("N1"), to_item("N2", bound_until=FEB), to_item("N1")]
    first = await bind_subjects(commands, uow=bound, clock=clock)
    again = await bind_subjects(commands, uow=bound, clock=clock)
    assert [type(result) for result in first] == [Created, Created, Unchanged]
    assert [type(result) for result in again] == [Unchanged] * 3
    assert bound.told == ["SubjectBound"] * 2


async def test_another_item_or_end_from_the_same_instant_is_a_conflict(
    bound: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    other = a_subscription(id="sub_other", items=(an_item(id="si_other"),))
    bound.subscriptions.add(other)
    [made] = await bind_subjects([to_item()], uow=bound, clock=clock)
    results = await bind_subjects(
        [to_item(item_id="si_other"), to_item(bound_until=FEB)], uow=bound, clock=clock
    )
    assert isinstance(made, Created)
    assert [result.binding.id for result in results if isinstance(result, Overlapping)] == [
        made.binding.id
    ] * 2


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"item_id": None, "subscription_id": "sub_x"}, "subscription_not_found", "/subscription_id"),
        ({"meter": "landings"}, "item_reads_no_such_meter", "/item_id"),
        (
            {"item_id": None, "subscription_id": SUBSCRIPTION, "meter": "landings"},
            "item_reads_no_such_meter",
            "/subscription_id",
        ),
        ({"item_id": "si_aircraft"}, "item_reads_no_such_meter", "/item_id"),
    ],
)
async def test_what_is_rejected_says_why(
    bound: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
    changes: dict[str, Any],
    code: str,
    pointer: str,
) -> None:
    [result] = await bind_subjects([to_item(**changes)], uow=bound, clock=clock)
    assert isinstance(result, Rejected)
    assert (result.error.code, result.error.pointer) == (code, pointer)


async def test_two_items_of_one_meter_must_be_told_apart(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(a_subscription(items=(an_item(), an_item(id="si_night"))))
    by_subscription = to_item(item_id=None, subscription_id=SUBSCRIPTION)
    by_item = to_item(item_id="si_night")
    ambiguous, clear = await bind_subjects([by_subscription, by_item], uow=uow, clock=clock)
    assert isinstance(ambiguous, Rejected)
    assert ambiguous.error.code == "item_ambiguous"
    assert isinstance(clear, Created)


async def test_a_subscription_that_is_over_takes_what_lies_before_its_end(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(a_subscription(state=SubscriptionState.ENDED, ended_at=FEB))
    results = await bind_subjects(
        [to_item("N1", bound_until=FEB), to_item("N2"), to_item("N3", bound_until=MAR)],
        uow=uow,
        clock=clock,
    )
    assert isinstance(results[0], Created)
    assert [result.error.pointer for result in results if isinstance(result, Rejected)] == [
        "/bound_until"
    ] * 2


async def test_a_canceled_subscription_takes_nothing(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(a_subscription(state=SubscriptionState.CANCELED, ended_at=FEB))
    [result] = await bind_subjects([to_item(bound_until=FEB)], uow=uow, clock=clock)
    assert isinstance(result, Rejected)
    assert result.error.code == "subscription_over"


async def test_whoever_was_quicker_wins(bound: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    """A rival's binding appears between our look and our insert; what had lost to ours is decided again."""
    rival = a_binding(subject="N1", bound_from=JAN, bound_until=utc("2025-01-10"), item_id="si_rival")
    bound.bindings.rivals = [rival]
    results = await bind_subjects(
        [
            to_item("N1", bound_from=utc("2025-01-05"), bound_until=FEB),
            to_item("N1", bound_from=utc("2025-01-20")),  # gave way to the first, which was lost
            to_item("N2"),
        ],
        uow=bound,
        clock=clock,
    )
    assert isinstance(results[0], Overlapping)
    assert results[0].binding == rival
    assert [type(result) for result in results[1:]] == [Created, Created]
    assert bound.bindings.insert_count == 2
    assert bound.told == ["SubjectBound"] * 2


async def test_it_gives_up_when_others_are_always_quicker(
    bound: MemorySubscriptionsUnitOfWork, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(bindings: object) -> set[str]:
        return set()

    monkeypatch.setattr(bound.bindings, "insert_new", never)
    with pytest.raises(BindingsContended):
        await bind_subjects([to_item()], uow=bound, clock=clock)


async def test_a_release_is_told_once(bound: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    binding = a_binding(test_clock_id=a_test_clock().id)
    bound.bindings.add(binding)
    for _ in range(2):
        released = await release_subject(ReleaseSubject(binding.id, FEB), uow=bound, clock=clock)
    assert (released.bound_until, released.version) == (FEB, 2)
    [event] = bound.outbox.events
    assert isinstance(event, SubjectReleasedV1)
    assert (event.tenant, event.version, event.occurred_at) == (TENANT, 2, a_test_clock().now)
    with pytest.raises(BindingEndsEarlier):
        await release_subject(ReleaseSubject(binding.id, MAR), uow=bound, clock=clock)
    with pytest.raises(SubjectBindingNotFound):
        await release_subject(ReleaseSubject("bnd_x", MAR), uow=bound, clock=clock)

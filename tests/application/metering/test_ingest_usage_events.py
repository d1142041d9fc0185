"""Storing usage events: each once, with a result for each, in order."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.application.ingest_usage_events import (
    EventResult,
    IngestUsageEvents,
    UsageBatch,
    ingest_usage_events,
)
from services.metering.domain.meter import MeterOptions
from services.metering.domain.metered_item import MeteredItem
from services.metering.domain.usage_event import AcceptWindow, MalformedEvent, Reason, UsageEvent
from services.metering.domain.usage_window import UsageWindow
from tests.application.metering.memory import AT, MemoryMeteringUnitOfWork, an_event
from tests.unit.metering.meters import a_meter

BAD = MalformedEvent(
    reasons=(Reason("subject_missing", "/subject", "every event has a subject"),),
    payload="{}",
    event_id="bad",
    source="s",
    type="flight.landed",
    data={},
    data_readable=True,
)


def a_batch(*events: UsageEvent | MalformedEvent, id: str = "batch") -> UsageBatch:
    return UsageBatch(id, f"token:{id}", AT, events)


async def ingest(uow: MemoryMeteringUnitOfWork, *batches: UsageBatch) -> list[list[EventResult]]:
    return await ingest_usage_events(IngestUsageEvents(batches), uow=uow, accept=AcceptWindow())


async def statuses(uow: MemoryMeteringUnitOfWork, *batches: UsageBatch) -> list[list[str]]:
    return [[result.status for result in results] for results in await ingest(uow, *batches)]


async def test_a_result_for_each_event_in_order(uow: MemoryMeteringUnitOfWork) -> None:
    await uow.meters.insert(a_meter())
    assert await statuses(uow, a_batch(an_event("a"), an_event("b", 1))) == [["stored", "stored"]]
    again = a_batch(
        an_event("c"), an_event("a"), BAD, an_event("b", 2), an_event("d", '"ten"', data={"minutes": "ten"})
    )
    assert await statuses(uow, again) == [["stored", "duplicate", "rejected", "conflict", "rejected"]]
    assert len(uow.usage.events) == 3
    assert [conflict.event_id for conflict in uow.usage.conflicts.values()] == ["b"]
    assert {reject.event_id for reject in uow.usage.rejects.values()} == {"bad", "d"}


async def test_a_number_sent_as_text_has_as_many_digits_as_any_other(uow: MemoryMeteringUnitOfWork) -> None:
    await uow.meters.insert(a_meter())
    most, more = "9" * 38, "9" * 39
    events = (
        an_event("most", f'"{most}"', data={"minutes": most}),
        an_event("more", f'"{more}"', data={"minutes": more}),
    )
    [[stored, refused]] = await ingest(uow, a_batch(*events))
    assert (stored.status, refused.status) == ("stored", "rejected")
    assert [(reason.code, reason.pointer) for reason in refused.reasons] == [
        ("number_too_long", "/data/minutes")
    ]


async def test_of_two_requests_with_the_same_event_the_first_stores_it(uow: MemoryMeteringUnitOfWork) -> None:
    one, two = (
        a_batch(an_event("a"), id="one"),
        a_batch(an_event("b"), an_event("a"), an_event("a", 1), id="two"),
    )
    assert await statuses(uow, one, two) == [["stored"], ["stored", "duplicate", "conflict"]]
    assert [recorded.aggregate_id for recorded in uow.recorded] == ["one", "two"]


async def test_a_meters_reasons_stand_beside_an_events_own(uow: MemoryMeteringUnitOfWork) -> None:
    await uow.meters.insert(a_meter())
    await uow.meters.insert(a_meter("longest", aggregation="max"))
    [[result]] = await ingest(uow, a_batch(BAD))
    assert [(r.code, r.pointer) for r in result.reasons] == [
        ("subject_missing", "/subject"),
        ("value_missing", "/data/minutes"),
        ("value_missing", "/data/minutes"),
    ]


async def test_a_rejected_event_leaves_its_id_free_within_one_batch(uow: MemoryMeteringUnitOfWork) -> None:
    await uow.meters.insert(a_meter())
    bad, good = an_event("a", "null", data={"minutes": None}), an_event("a", 5)
    assert await statuses(uow, a_batch(bad, good, bad)) == [["rejected", "stored", "rejected"]]


async def test_a_batch_of_duplicates_changes_nothing(uow: MemoryMeteringUnitOfWork) -> None:
    await statuses(uow, a_batch(an_event("a")))
    uow.recorded.clear()
    assert await statuses(uow, a_batch(an_event("a"), an_event("a"))) == [["duplicate", "duplicate"]]
    assert uow.recorded == []


async def test_only_what_is_new_is_summed(uow: MemoryMeteringUnitOfWork) -> None:
    await uow.meters.insert(a_meter())
    await statuses(uow, a_batch(an_event("a", 1)))
    await statuses(uow, a_batch(an_event("a", 1), an_event("b", 2), an_event("b", 2)))
    assert [[a.total for a in sums.additions()] for sums in uow.usage.added] == [[1], [2]]


def a_due_window(end: datetime) -> UsageWindow:
    return UsageWindow(
        id="uwin_1",
        subscription_id="sub_1",
        customer_id="cus_1",
        period_index=0,
        version=1,
        state="due",
        window_start=AT - timedelta(days=9),
        window_end=end,
        items=(MeteredItem("si_1", "minutes"),),
        clock_id=None,
        created_at=AT,
    )


async def test_usage_is_late_only_before_the_end_of_a_window_that_is_no_longer_open(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await uow.meters.insert(a_meter())
    uow.windows.add(a_due_window(end=AT))
    await statuses(uow, a_batch(an_event("on the edge", time=AT)))
    assert uow.late.noted == []
    late, later = an_event("late", time=AT - timedelta(microseconds=1)), an_event("later", time=AT)
    await statuses(uow, a_batch(late, later, late))
    assert uow.late.noted == [("late", "minutes", "N1", late.occurred_at, late.key)]
    await statuses(uow, a_batch(late))  # a duplicate changes nothing
    assert len(uow.late.noted) == 1


@pytest.mark.parametrize(("by_day", "is_late"), [(False, False), (True, True)])
async def test_a_change_that_weighs_from_the_start_of_its_day_may_count_before_it_happens(
    uow: MemoryMeteringUnitOfWork, by_day: bool, is_late: bool
) -> None:
    options = MeterOptions(level="change", per="window", by_day=by_day)
    await uow.meters.insert(a_meter(aggregation="time_weighted", options=options))
    window = a_due_window(end=AT - timedelta(hours=3))
    uow.windows.add(window)
    await statuses(uow, a_batch(an_event("same day", time=AT)))
    assert bool(uow.late.noted) == is_late


@given(seed=st.integers(0, 2**32), length=st.integers(0, 30))
async def test_deliveries_shuffled_repeated_and_cut_store_the_same(seed: int, length: int) -> None:
    order = random.Random(seed)
    events = [an_event(str(n), n) for n in range(length)]
    deliveries = events + order.choices(events, k=length) if events else []
    order.shuffle(deliveries)
    uow = MemoryMeteringUnitOfWork()
    await uow.meters.insert(a_meter())
    stored = 0
    while deliveries:
        cut = order.randint(1, len(deliveries))
        results = await statuses(uow, a_batch(*deliveries[:cut]))
        stored += results[0].count("stored")
        assert set(results[0]) <= {"stored", "duplicate"}
        deliveries = deliveries[cut:]
    assert stored == length
    assert sum(a.total or 0 for sums in uow.usage.added for a in sums.additions()) == sum(range(length))

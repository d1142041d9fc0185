"""What came through the usage topic is settled once, and its results can be asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.metering.application.ingest_usage_events import UsageBatch
from services.metering.application.queries import UsageBatchNotFound, find_usage_batch
from services.metering.application.settle_usage_parts import (
    SettleUsageParts,
    UsagePart,
    settle_usage_parts,
)
from services.metering.domain.usage_event import AcceptWindow, MalformedEvent, Reason
from tests.application.metering.memory import AT, MemoryMeteringUnitOfWork, an_event

KEPT = timedelta(days=30)


def a_part(
    *events: tuple[int, str, int], number: int = 0, batch_id: str = "batch", count: int = 4
) -> UsagePart:
    """`events`: place, id and minutes; minutes below zero stand for an event that is malformed."""
    found = [
        MalformedEvent((Reason("x", "", "x"),), f"payload {id}", event_id=id)
        if minutes < 0
        else an_event(id, minutes)
        for _, id, minutes in events
    ]
    batch = UsageBatch(batch_id, "token", AT, found)
    return UsagePart(batch, number, count, [place for place, _, _ in events])


async def settle(uow: MemoryMeteringUnitOfWork, *parts: UsagePart) -> dict[str, int]:
    return dict(await settle_usage_parts(SettleUsageParts(parts, KEPT), uow=uow, accept=AcceptWindow()))


async def test_results_are_kept_by_place_and_only_of_what_was_not_stored(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    part = a_part((0, "a", 1), (3, "a", 1), (5, "a", 2), (9, "bad", -1))
    assert await settle(uow, part) == {"stored": 1, "duplicate": 1, "conflict": 1, "rejected": 1}
    told = [(one.place, one.event_id, one.status) for one in uow.results.not_stored]
    assert told == [(3, "a", "duplicate"), (5, "a", "conflict"), (9, "bad", "rejected")]
    assert [reason.code for reason in uow.results.not_stored[2].reasons] == ["x"]


async def test_a_part_that_comes_again_is_left_out_whole(uow: MemoryMeteringUnitOfWork) -> None:
    part, other = a_part((0, "a", 1), (1, "bad", -1)), a_part((2, "b", 1), number=1)
    await settle(uow, part)
    kept = list(uow.results.not_stored)
    assert await settle(uow, part, other, other) == {"stored": 1}
    assert uow.results.not_stored == kept


async def test_a_batch_is_complete_when_all_its_parts_are_settled(uow: MemoryMeteringUnitOfWork) -> None:
    await settle(uow, a_part((0, "a", 1), (1, "a", 1)))
    batch = await find_usage_batch("batch", None, uow=uow)
    assert batch is not None
    assert (batch.event_count, batch.pending_count, dict(batch.counts)["duplicate"]) == (4, 2, 1)
    await settle(uow, a_part((2, "b", 1), (3, "c", 1), number=1))
    batch = await find_usage_batch("batch", None, uow=uow)
    assert batch is not None
    assert batch.pending_count == 0


async def test_an_unknown_batch_may_come_as_long_as_the_topic_holds_anything(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    assert await find_usage_batch("batch", None, uow=uow) is None
    uow.offsets.by_partition = {0: 5, 1: 2}
    waiting = await find_usage_batch("batch", {0: 5, 1: 3}, uow=uow)
    assert waiting is not None
    assert (waiting.event_count, waiting.pending_count) == (None, None)
    with pytest.raises(UsageBatchNotFound):
        await find_usage_batch("batch", {0: 5, 1: 2}, uow=uow)
    uow.memory_reads.failing_batches.add("batch")
    assert await find_usage_batch("batch", {0: 5, 1: 2}, uow=uow) is not None

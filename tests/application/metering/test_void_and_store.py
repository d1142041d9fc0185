"""Taking events back and storing others: what is decided of each, and what is told of all of them."""

from __future__ import annotations

from datetime import timedelta

from services.metering.application.amend_usage_events import Amendment, AmendUsageEvents, amend_usage_events
from services.metering.application.ports import Arrival
from services.metering.application.void_and_store import (
    CorrectionResult,
    Void,
    VoidedAndStored,
    void_and_store,
)
from services.metering.domain.usage_event import AcceptWindow, MalformedEvent, Reason, UsageEvent
from tests.application.metering.memory import AT, MemoryMeteringUnitOfWork, an_event
from tests.unit.metering.meters import a_meter

NOW = AT + timedelta(days=1)
HOUR = timedelta(hours=1)


async def with_events(uow: MemoryMeteringUnitOfWork, *events: UsageEvent) -> None:
    await uow.meters.insert(a_meter())
    uow.usage.events |= {event.key: event for event in events}


async def change(
    uow: MemoryMeteringUnitOfWork, *ids: str, arrivals: tuple[UsageEvent, ...] = ()
) -> VoidedAndStored:
    voids = [Void("s", id, "wrong", "ann") for id in ids]
    return await void_and_store(voids, [Arrival(event, "b", NOW) for event in arrivals], uow=uow, now=NOW)


async def amend(
    uow: MemoryMeteringUnitOfWork, *events: UsageEvent | MalformedEvent, accept: AcceptWindow | None = None
) -> list[CorrectionResult]:
    command = AmendUsageEvents("b", "ann", [Amendment(event, "wrong") for event in events])
    return list(await amend_usage_events(command, uow=uow, accept=accept or AcceptWindow(), now=NOW))


def minutes(uow: MemoryMeteringUnitOfWork) -> list[int]:
    return sorted(event.data["minutes"] for event in uow.corrections.counted())


async def test_what_is_voided_counts_no_more_and_all_who_must_know_are_told(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    event = an_event("a")
    await with_events(uow, event, an_event("b", 5))
    done = await change(uow, "a")
    assert [result.status for result in done.voids] == ["voided"]
    assert minutes(uow) == [5]
    assert uow.usage.calls == ["stop_writers"]
    assert [(touched.meter, touched.subject) for touched in uow.usage.rebuilt] == [("minutes", "N1")]
    assert uow.late.noted == [("voided", "minutes", "N1", AT, event.key)]
    assert uow.balances.noted_subjects == {("minutes", "N1")}
    [correction] = uow.corrections.kept
    assert (correction.reason, correction.author, correction.corrected_at) == ("wrong", "ann", NOW)


async def test_an_event_named_twice_is_voided_once(uow: MemoryMeteringUnitOfWork) -> None:
    await with_events(uow, an_event("a"))
    first, second, unknown = (await change(uow, "a", "a", "b")).voids
    assert (first.status, second.status, unknown.status) == ("voided", "unchanged", "not_found")
    assert second.correction_id == first.correction_id
    assert len(uow.corrections.kept) == 1
    assert [result.status for result in (await change(uow, "a")).voids] == ["unchanged"]
    assert len(uow.usage.rebuilt) == 1


async def test_others_are_stored_in_the_same_step_and_noted_as_late(uow: MemoryMeteringUnitOfWork) -> None:
    await with_events(uow, an_event("a", 60))
    new = an_event("a/2", 70, time=AT + HOUR)
    done = await change(uow, "a", arrivals=(new,))
    assert done.stored.fresh == {new.key}
    assert minutes(uow) == [70]
    assert [note[0] for note in uow.late.noted] == ["voided", "late"]
    assert [touched.start for touched in uow.usage.rebuilt] == [AT, AT + HOUR]
    again = await change(uow, "a", arrivals=(new,))
    assert (again.voids[0].status, again.stored.fresh) == ("unchanged", frozenset())
    assert len(uow.usage.rebuilt) == 2


async def test_what_no_meter_reads_is_voided_without_a_recount(uow: MemoryMeteringUnitOfWork) -> None:
    await with_events(uow, an_event("a", type="other"))
    assert [result.status for result in (await change(uow, "a")).voids] == ["voided"]
    assert (uow.usage.rebuilt, uow.late.noted) == ([], [])


async def test_an_amendment_is_noted_where_it_was_and_where_it_is_under_its_first_key(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    event = an_event("a", 60)
    await with_events(uow, event)
    [result] = await amend(uow, an_event("a", 70, subject="N2", time=AT + HOUR))
    assert result.status == "amended"
    assert minutes(uow) == [70]
    assert uow.late.noted == [
        ("amended", "minutes", "N1", AT, event.key),
        ("amended", "minutes", "N2", AT + HOUR, event.key),
    ]
    assert uow.balances.noted_subjects == {("minutes", "N1"), ("minutes", "N2")}
    assert {event.event_id for event in uow.usage.events.values()} == {"a"}


async def test_each_amendment_sees_what_those_before_it_have_done(uow: MemoryMeteringUnitOfWork) -> None:
    await with_events(uow, an_event("a", 60))
    results = await amend(uow, an_event("a", 61), an_event("a", 61), an_event("a", 60), an_event("a", 62))
    assert [result.status for result in results] == ["amended", "unchanged", "amended", "amended"]
    assert [step.revision for step in uow.corrections.kept] == [1, 2, 3]
    assert minutes(uow) == [62]


async def test_a_voided_event_is_amended_back(uow: MemoryMeteringUnitOfWork) -> None:
    await with_events(uow, an_event("a", 60))
    await change(uow, "a")
    assert minutes(uow) == []
    assert [result.status for result in await amend(uow, an_event("a", 60))] == ["amended"]
    assert minutes(uow) == [60]
    assert [note[0] for note in uow.late.noted] == ["voided", "amended"]


async def test_a_bad_amendment_is_refused_with_everything_that_is_wrong(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await with_events(uow, an_event("a", 60), an_event("b", 60))
    own = Reason("reason_missing", "/reason", "must be said")
    malformed = MalformedEvent((own,), "", "a", "s", "flight.landed", "N1", {}, data_readable=True)
    late = an_event("a", '"ten"', data={"minutes": "ten"}, time=AT)
    results = await amend(uow, malformed, late, an_event("b", 61), accept=AcceptWindow(past=HOUR))
    assert [result.status for result in results] == ["rejected"] * 3
    told = [[(reason.code, reason.pointer) for reason in result.reasons] for result in results]
    assert told[0] == [("reason_missing", "/reason"), ("value_missing", "/event/data/minutes")]
    assert told[1] == [("time_too_old", "/event/time"), ("value_not_a_number", "/event/data/minutes")]
    assert told[2] == [("time_too_old", "/event/time")]
    assert minutes(uow) == [60, 60]
    assert uow.corrections.kept == []

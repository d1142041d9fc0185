"""Test clocks are made, and carried through what falls due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from libs.common.contracts import SERVICES
from libs.common.contracts.subscriptions import TestClockMovedV1
from libs.common.errors import TransientError
from services.subscriptions.application import move_test_clock as moving
from services.subscriptions.application.create_test_clock import (
    CreateTestClock,
    TenantNotKnown,
    create_test_clock,
)
from services.subscriptions.application.move_test_clock import ClockMover, MoveTestClock, move_test_clock
from services.subscriptions.domain.clock_rest import Look, Offsets
from services.subscriptions.domain.test_clock import (
    ClockGoesBack,
    ClockIsMoving,
    ClockMove,
    MoveState,
    SandboxOnly,
)
from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, a_test_clock, utc

START, FEB, MAR = utc("2025-01-31T05:00"), utc("2025-02-28T05:00"), utc("2025-03-31T04:00")
ID = a_test_clock().id


class Peers:
    """Four services that take some looks to be done with each step. `due` falls due in billing."""

    def __init__(
        self, uow: MemorySubscriptionsUnitOfWork, due: Sequence[datetime], busy_looks: int = 2
    ) -> None:
        self._uow, self._due, self._busy_looks = uow, due, busy_looks
        self._seen: dict[datetime, int] = {}
        self.failing = 0
        self.position = 0
        self.stirring = 0
        self.asked: list[tuple[str, ...]] = []

    async def look(
        self, *, tenant: str, test_clock_id: str, services: Sequence[str] = SERVICES
    ) -> Sequence[Look]:
        self.asked.append(tuple(services))
        if self.failing:
            self.failing -= 1
            raise TransientError("billing did not answer")
        now = self._uow.test_clocks.by_id[test_clock_id].now
        seen = self._seen[now] = self._seen.get(now, 0) + (SERVICES[-1] in services)
        if self.stirring:
            self.stirring -= 1
            self.position += 1
        busy = 1 if now in self._due and seen <= self._busy_looks else 0
        coming = min((at for at in self._due if at > now), default=None)
        looks = [Look(service, now, None, 0, 0, self.position) for service in SERVICES]
        told = [*looks[:-1], replace(looks[-1], earliest_due_at=coming, busy=busy)]
        return [look for look in told if look.service in services]


class Progress:
    def __init__(self) -> None:
        self.behind: list[tuple[str, str] | None] = []

    async def ends(self) -> Mapping[str, Offsets]:
        return {}

    async def find_behind(self, ends: Mapping[str, Offsets]) -> tuple[str, str] | None:
        return self.behind.pop() if self.behind else None


async def asked(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock, to: datetime) -> ClockMove:
    uow.test_clocks.add(a_test_clock())
    return await move_test_clock(MoveTestClock(ID, to), uow=uow, clock=clock)


async def carried(mover: ClockMover, uow: MemorySubscriptionsUnitOfWork) -> ClockMove:
    [found] = await mover.find_moves()
    await mover.carry_on(found)
    assert await mover.find_moves() == []
    return uow.clock_moves.by_id[found.move_id]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of waiting become milliseconds."""
    monkeypatch.setattr(moving, "PAUSE_FIRST_S", 0.0001)
    monkeypatch.setattr(moving, "PAUSE_LAST_S", 0.001)
    monkeypatch.setattr(moving, "SAY_EVERY_S", 0.0)


async def test_a_clock_is_made_and_told_of(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    made = await create_test_clock(CreateTestClock("2013", FEB), uow=uow, clock=clock)
    [event] = uow.outbox.events
    assert isinstance(event, TestClockMovedV1)
    assert (event.clock_id, event.now, event.version, event.test_clock) == (made.id, FEB, 1, made.id)


async def test_only_a_sandbox_has_test_clocks(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.mode = "live"
    with pytest.raises(SandboxOnly):
        await create_test_clock(CreateTestClock("2013", FEB), uow=uow, clock=clock)
    uow.mode = None
    with pytest.raises(TenantNotKnown):
        await create_test_clock(CreateTestClock("2013", FEB), uow=uow, clock=clock)


async def test_it_makes_one_move_at_a_time_forward(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    move = await asked(uow, clock, MAR)
    assert await move_test_clock(MoveTestClock(ID, MAR), uow=uow, clock=clock) == move
    assert uow.clock_moves.wake_count == 1
    with pytest.raises(ClockIsMoving):
        await move_test_clock(MoveTestClock(ID, FEB), uow=uow, clock=clock)
    uow.clock_moves.save(replace(move, state=MoveState.ARRIVED))
    with pytest.raises(ClockGoesBack):
        await move_test_clock(MoveTestClock(ID, utc("2025-01-01")), uow=uow, clock=clock)


async def test_it_stops_at_each_due_instant_and_arrives(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await asked(uow, clock, MAR)
    peers = Peers(uow, due=[FEB, utc("2025-02-28T06:00"), utc("2025-04-30")])
    mover = ClockMover(units=uow, peers=peers, progress=Progress(), clock=clock)
    move = await carried(mover, uow)
    assert (move.state, move.steps, move.clock_now) == (MoveState.ARRIVED, 3, MAR)
    assert (move.next_due_at, move.waiting_for) == (utc("2025-04-30"), None)
    told = [event for event in uow.outbox.events if isinstance(event, TestClockMovedV1)]
    assert [event.now for event in told] == [FEB, utc("2025-02-28T06:00"), MAR]
    assert [event.version for event in told] == [2, 3, 4]


async def test_it_waits_for_outages_laggards_and_late_stirrings(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await asked(uow, clock, FEB)
    peers, progress = Peers(uow, due=[FEB]), Progress()
    peers.failing, peers.stirring, progress.behind = 3, 4, [None, None, ("metering", "catalog")]
    mover = ClockMover(units=uow, peers=peers, progress=progress, clock=clock)
    move = await carried(mover, uow)
    assert (move.state, move.clock_now) == (MoveState.ARRIVED, FEB)
    assert (peers.failing, peers.stirring) == (0, 0)


async def test_one_is_asked_after_the_other_until_each_was_at_rest_and_then_all_once_more(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await asked(uow, clock, FEB)
    peers = Peers(uow, due=[FEB], busy_looks=3)
    await carried(ClockMover(units=uow, peers=peers, progress=Progress(), clock=clock), uow)
    each = [(service,) for service in SERVICES]
    assert peers.asked == [*each, SERVICES, *each, *[each[-1]] * 3, SERVICES]


async def test_it_says_what_it_waits_for(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    asked_for = await asked(uow, clock, FEB)
    said: list[str | None] = []
    save = uow.clock_moves.save

    def save_and_note(aggregate: ClockMove) -> None:
        said.append(aggregate.waiting_for)
        save(aggregate)

    uow.clock_moves.save = save_and_note  # type: ignore[method-assign]
    peers = Peers(uow, due=[FEB])
    peers.failing = 2
    progress = Progress()
    progress.behind = [("metering", "catalog")]
    mover = ClockMover(units=uow, peers=peers, progress=progress, clock=clock)
    await carried(mover, uow)
    assert said == [
        "billing did not answer",
        "metering has events of catalog to handle",
        None,
        "billing has 1 due by this time",
        None,
    ]
    assert uow.clock_moves.by_id[asked_for.id].waiting_for is None


async def test_another_mover_goes_on_where_one_was_killed(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await asked(uow, clock, MAR)
    peers = Peers(uow, due=[FEB])
    first = ClockMover(units=uow, peers=peers, progress=Progress(), clock=clock)
    [found] = await first.find_moves()

    class Killed(Exception):
        pass

    look, looks = peers.look, 0

    async def die_after_the_first_step(
        *, tenant: str, test_clock_id: str, services: Sequence[str] = SERVICES
    ) -> Sequence[Look]:
        nonlocal looks
        looks += 1
        if looks > len(SERVICES) + 1:
            raise Killed
        return await look(tenant=tenant, test_clock_id=test_clock_id, services=services)

    peers.look = die_after_the_first_step  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await first.carry_on(found)
    assert uow.clock_moves.by_id[found.move_id].clock_now == FEB
    peers.look = look  # type: ignore[method-assign]
    second = ClockMover(units=uow, peers=peers, progress=Progress(), clock=clock)
    move = await carried(second, uow)
    assert (move.state, move.steps, move.clock_now) == (MoveState.ARRIVED, 2, MAR)


async def test_two_movers_of_one_clock_make_each_step_once(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    """Both saw the clock at rest; the second finds it moved, and looks again."""
    await asked(uow, clock, MAR)
    peers = Peers(uow, due=[FEB])
    mover = ClockMover(units=uow, peers=peers, progress=Progress(), clock=clock)
    [found] = await mover.find_moves()
    looks = await peers.look(tenant=uow.tenant, test_clock_id=ID)
    first = await mover._go_on(found, looks, seen_at=START)
    second = await mover._go_on(found, looks, seen_at=START)
    assert first.clock_now == second.clock_now == FEB
    assert uow.told == ["TestClockMoved"]

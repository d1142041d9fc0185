"""Move a test clock: asked for in one transaction, then carried through every due instant on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.clock import Clock
from libs.common.contracts import SERVICES
from libs.common.errors import TransientError
from libs.common.ids import new_id
from services.subscriptions.application import events
from services.subscriptions.application.ports import (
    ClockPeers,
    EventProgress,
    MovingClock,
    OpenUnits,
    UnitOfWork,
)
from services.subscriptions.domain.clock_rest import Look, find_change, find_unrest
from services.subscriptions.domain.test_clock import (
    Arrival,
    ClockIsMoving,
    ClockMove,
    MoveState,
    Step,
    begin_move,
    decide_step,
)

ACTOR = "mover:test-clocks"
PAUSE_FIRST_S, PAUSE_LAST_S, PAUSE_GROWTH = 0.02, 0.25, 1.5
PAUSE_TO_LOOK, PAUSE_BUSY_S = 12, 1.5  # whoever is busy is not kept from his work by being asked about it
FEW = 50  # things to do: below that nobody is kept from much
SAY_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class MoveTestClock:
    test_clock_id: str
    to: datetime


async def move_test_clock(command: MoveTestClock, *, uow: UnitOfWork, clock: Clock) -> ClockMove:
    """Ask for a move; the mover takes it from there. To ask again for the move under way returns that one.

    Raises: TestClockNotFound, ClockGoesBack, ClockIsMoving.
    """
    test_clock = await uow.test_clocks.get_for_update(command.test_clock_id)
    moving = await uow.clock_moves.find_moving(test_clock.id)
    if moving is not None:
        if moving.to_at == command.to:
            return moving
        raise ClockIsMoving(
            "a clock makes one move at a time",
            remedy="Look at the clock until it is at rest, and move it then.",
            move=moving.id,
            to=moving.to_at,
        )
    system_now = clock.system_now()
    move = begin_move(test_clock, id=new_id("mov", system_now), to=command.to, system_now=system_now)
    uow.clock_moves.add(move)
    uow.record("test_clock.move_asked", test_clock.id, test_clock.version)
    await uow.clock_moves.wake_mover()
    return move


class ClockMover:
    """Carries moves on, from wherever they stand, until they have arrived.

    All that it knows is written down with each step, so that another process can go on where one was killed. Two
    movers of one clock do no harm: a step is made only from the instant at which the clock was seen at rest.
    There is no time limit: an outage is waited out, and the move says what it waits for.
    """

    def __init__(self, *, units: OpenUnits, peers: ClockPeers, progress: EventProgress, clock: Clock) -> None:
        self._units, self._peers, self._progress, self._clock = units, peers, progress, clock

    async def find_moves(self) -> Sequence[MovingClock]:
        """The moves under way, of all tenants."""
        async with self._units.open_for_many() as uow:
            return await uow.clock_moves.find_all_moving()

    async def carry_on(self, moving: MovingClock) -> None:
        """Step from due instant to due instant until the move has arrived."""
        async with self._units.open(moving.tenant, ACTOR) as uow:
            move: ClockMove | None = await uow.clock_moves.get(moving.move_id)
        while move is not None and move.state is MoveState.MOVING:
            looks = await self._until_at_rest(moving.tenant, move)
            move = await self._go_on(moving, looks, seen_at=move.clock_now)

    async def _until_at_rest(self, tenant: str, move: ClockMove) -> Sequence[Look]:
        """What the services say of the clock once all that was due is done, told and heard."""
        pause_s, said, said_at = PAUSE_FIRST_S, move.waiting_for, time.monotonic()
        is_crowded = False
        calm: dict[str, Look] = {}
        while True:
            looked_at = time.monotonic()
            looks, reason = await self._look(tenant, move, calm)
            look_s = time.monotonic() - looked_at
            if reason is None:
                return looks
            if reason != said and time.monotonic() - said_at >= SAY_EVERY_S:
                await self._say(tenant, move.id, reason)
                said, said_at = reason, time.monotonic()
            is_crowded = is_crowded or sum(look.busy + look.unpublished for look in looks) > FEW
            await asyncio.sleep(
                max(pause_s, min(PAUSE_TO_LOOK * look_s, PAUSE_BUSY_S)) if is_crowded else pause_s
            )
            pause_s = min(pause_s * PAUSE_GROWTH, PAUSE_LAST_S)

    async def _look(
        self, tenant: str, move: ClockMove, calm: dict[str, Look]
    ) -> tuple[Sequence[Look], str | None]:
        """Look twice, with the readers' progress in between; and what is still to wait for, if anything.

        The first time they are asked one after the other, in the order in which news goes: while one is not at rest,
        nobody else has to be asked. `calm` are those that were, as they were seen last.
        The ends of the topics are read after nothing was unpublished. Whatever is written down after the first
        look of a service shows in the second, as another last position.
        """
        try:
            for service in SERVICES:
                if service in calm:
                    continue
                [look] = await self._peers.look(
                    tenant=tenant, test_clock_id=move.test_clock_id, services=(service,)
                )
                if reason := find_unrest([look], move.clock_now):
                    return (look,), reason
                calm[service] = look
            ends = await self._progress.ends()
            if behind := await self._progress.find_behind(ends):
                return (), "{} has events of {} to handle".format(*behind)
            again = await self._peers.look(tenant=tenant, test_clock_id=move.test_clock_id)
            reason = find_unrest(again, move.clock_now) or find_change(tuple(calm.values()), again)
            calm.clear()
            calm.update({look.service: look for look in again if not find_unrest([look], move.clock_now)})
            return again, reason
        except TransientError as error:
            return (), error.message

    async def _go_on(self, moving: MovingClock, looks: Sequence[Look], *, seen_at: datetime) -> ClockMove:
        """One step, or the arrival, of a clock that was at rest at `seen_at`; the move as it stands then."""
        due = [look.earliest_due_at for look in looks if look.earliest_due_at is not None]
        async with self._units.open(moving.tenant, ACTOR) as uow:
            before = await uow.clock_moves.get(moving.move_id)
            test_clock = await uow.test_clocks.get_for_update(before.test_clock_id)
            move = await uow.clock_moves.get_for_update(moving.move_id)
            if move.state is not MoveState.MOVING or test_clock.now != seen_at:
                return replace(move, clock_now=test_clock.now)  # another mover was here
            match decide_step(test_clock.now, move.to_at, due):
                case Step(to=to):
                    test_clock = test_clock.moved_to(to)
                    later = min((at for at in due if at > to), default=None)
                    move = replace(
                        move, clock_now=to, steps=move.steps + 1, next_due_at=later, waiting_for=None
                    )
                    uow.test_clocks.save(test_clock)
                    uow.record("test_clock.moved", test_clock.id, test_clock.version)
                    uow.outbox.append(events.for_clock(test_clock, tenant=uow.tenant), key=test_clock.id)
                case Arrival():
                    move = replace(
                        move,
                        state=MoveState.ARRIVED,
                        arrived_at=self._clock.system_now(),
                        next_due_at=min(due, default=None),
                        waiting_for=None,
                    )
            uow.clock_moves.save(move)
        return move

    async def _say(self, tenant: str, move_id: str, reason: str) -> None:
        async with self._units.open(tenant, ACTOR) as uow:
            move = await uow.clock_moves.get_for_update(move_id)
            if move.state is MoveState.MOVING:
                uow.clock_moves.save(replace(move, waiting_for=reason))

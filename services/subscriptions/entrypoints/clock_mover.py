"""The worker loop that carries test clocks on: one process at a time, several clocks side by side."""

from __future__ import annotations

import asyncio
import logging

from libs.common.persistence.outage import is_outage
from libs.common.stopping import Stopping, ended_by
from services.subscriptions.adapters.mover_lock import HeldLock, MoverLock
from services.subscriptions.application.move_test_clock import ClockMover
from services.subscriptions.application.ports import MovingClock

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
OUTAGE_PAUSE_S = 1.0
MOVES_AT_ONCE_MAX = 20


class ClockMoverLoop:
    """Holds the lock, finds the moves under way, and runs one task for each."""

    def __init__(
        self,
        mover: ClockMover,
        lock: MoverLock,
        *,
        look_every_s: float = LOOK_EVERY_S,
        stopping: Stopping | None = None,
    ) -> None:
        self._mover, self._lock, self._look_every_s = mover, lock, look_every_s
        self._stopping = stopping or Stopping()
        self._places = asyncio.Semaphore(MOVES_AT_ONCE_MAX)

    async def run(self) -> None:
        """Until told to stop. A move stands where its last step left it, so nothing has to be finished before.

        When the lock's connection is lost, all moves stop and wait for whoever takes it next.
        """
        await ended_by(self._stopping, self._run)()

    async def _run(self) -> None:
        while True:
            try:
                async with self._lock.held() as held:
                    await self._carry_all(held)
            except Exception as error:
                if not is_outage(error):
                    log.exception("the mover of test clocks stumbled")
                await asyncio.sleep(OUTAGE_PAUSE_S)

    async def _carry_all(self, held: HeldLock) -> None:
        moves: dict[MovingClock, asyncio.Task[None]] = {}
        try:
            while True:
                moves = {moving: task for moving, task in moves.items() if not task.done()}
                for moving in await self._mover.find_moves():
                    if moving not in moves:
                        moves[moving] = asyncio.create_task(self._carry(moving))
                await held.wait(self._look_every_s)
        finally:
            for task in moves.values():
                task.cancel()
            await asyncio.gather(*moves.values(), return_exceptions=True)

    async def _carry(self, moving: MovingClock) -> None:
        """What fails is found again at the next look: the move stands where its last step left it."""
        async with self._places:
            try:
                await self._mover.carry_on(moving)
            except Exception as error:
                if not is_outage(error):
                    log.exception("a test clock's move stumbled", extra={"move": moving.move_id})
                await asyncio.sleep(OUTAGE_PAUSE_S)

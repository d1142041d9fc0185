"""The year passes: the test clock stops at every instant at which something is due, until it has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from examples.engines_by_the_minute.client import Perennial
from examples.engines_by_the_minute.story import instant_text

LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Shown:
    """Where a moving clock stands. `waiting_for` says what keeps it there."""

    now: datetime
    steps: int
    waiting_for: str | None


async def move_clock(
    perennial: Perennial, clock_id: str, to: datetime, *, show: Callable[[Shown], None]
) -> int:
    """Move it, or go on with the move under way; returns its steps, none when it stood there already.

    A move asked for again with its key is answered with the same move, however far it has come.
    Raises: Refused, Stopped.
    """
    path = f"/v1/test-clocks/{clock_id}"
    clock = await perennial.get(path)
    if datetime.fromisoformat(clock["now"]) >= to:
        return 0
    answer = await perennial.post(f"{path}/moves", {"to": instant_text(to)}, key=f"move-{clock_id}")
    move = answer.json()
    while True:
        move = await perennial.get(f"{path}/moves/{move['id']}")
        show(Shown(datetime.fromisoformat(move["clock_now"]), move["steps"], move["waiting_for"]))
        if move["state"] == "arrived":
            return int(move["steps"])
        await asyncio.sleep(LOOK_EVERY_S)

"""Something to be woken by: a background loop waits for it, or for its interval, whichever is first."""

from __future__ import annotations

import asyncio


class Alarm:
    """Many may ring it; one loop waits, and misses no ring that came after its last look."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Return at once if it rang since the last call, else when it rings or the time is over.

        Not by `asyncio.wait_for`, which until Python 3.12 forgets that it was canceled when the ring comes with it.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()

"""The word to stop, as one process hears it: loops that hold work finish that and end, the others end at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Stopping:
    """One for a process. Once it is said, it stays said."""

    def __init__(self) -> None:
        self._said = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def set(self) -> None:
        if not self._said.is_set():
            self._said.set()
            for listener in self._listeners:
                listener()

    def is_set(self) -> bool:
        return self._said.is_set()

    async def wait(self) -> None:
        await self._said.wait()

    async def pause(self, seconds: float) -> None:
        """Sleep that long, or until the word comes."""
        try:
            async with asyncio.timeout(seconds):
                await self._said.wait()
        except TimeoutError:
            pass

    def tell(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the word comes: for whoever waits for something else."""
        self._listeners.append(listener)


def ended_by(stopping: Stopping, loop: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """The loop, canceled as soon as the word comes: for loops that hold nothing."""

    async def run() -> None:
        working = asyncio.ensure_future(loop())
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((working, told), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (working, told):
                task.cancel()
            await asyncio.gather(working, told, return_exceptions=True)

    run.__qualname__ = getattr(loop, "__qualname__", repr(loop))
    return run

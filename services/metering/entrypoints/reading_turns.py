"""How much of what was sent is taken apart at once: what stands in JSON takes many times its bytes once it is read."""

from __future__ import annotations

import asyncio
from collections import deque

ASIDE_BYTES_MAX = 131_072  # shorter bodies are not worth the waiting


class ReadingTurns:
    """As many bodies as come to `bytes_max` are read and stored at a time; the others wait as they came, in order.

    A list of empty lists, read, is twenty times as long as its text: without turns, what is bounded as text is not
    bounded as what becomes of it. A body that is longer than all that is allowed has its turn alone.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.bytes_at_once = 0

    async def begin(self, byte_count: int) -> int:
        """Wait for the turn of a body of this length; returns what to `end` it with."""
        if byte_count <= ASIDE_BYTES_MAX:
            return 0
        if not self._waiting and self._has_room(byte_count):
            self.bytes_at_once += byte_count
            return byte_count
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((byte_count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came together with the end of its request
                self.end(byte_count)
            raise
        return byte_count

    def end(self, byte_count: int) -> None:
        """Those that come next have theirs."""
        self.bytes_at_once -= byte_count
        while self._waiting:
            length, turn = self._waiting[0]
            if not turn.done():
                if not self._has_room(length):
                    return
                self.bytes_at_once += length
                turn.set_result(None)
            self._waiting.popleft()

    def _has_room(self, byte_count: int) -> bool:
        return not self.bytes_at_once or self.bytes_at_once + byte_count <= self._bytes_max

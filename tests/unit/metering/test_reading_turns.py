"""Turns of large bodies: no more at once than come to the bound, in their order, and none is lost when one goes away."""

from __future__ import annotations

import asyncio

from services.metering.entrypoints.reading_turns import ASIDE_BYTES_MAX, ReadingTurns

BYTES_MAX = 10 * ASIDE_BYTES_MAX


class Bodies:
    """Those that have begun, by name."""

    def __init__(self) -> None:
        self.turns, self.begun = ReadingTurns(BYTES_MAX), list[str]()

    def come(self, name: str, byte_count: int) -> asyncio.Task[int]:
        async def begin() -> int:
            held = await self.turns.begin(byte_count)
            self.begun.append(name)
            return held

        return asyncio.create_task(begin())


async def turn_of_the_loop() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_does_not_fit_waits_and_comes_in_order() -> None:
    bodies = Bodies()
    tasks = [bodies.come(name, BYTES_MAX // 2) for name in "abcde"]
    await turn_of_the_loop()
    assert bodies.begun == ["a", "b"]
    bodies.turns.end(await tasks[1])
    await turn_of_the_loop()
    assert bodies.begun == ["a", "b", "c"]
    bodies.turns.end(await tasks[0])
    bodies.turns.end(await tasks[2])
    await turn_of_the_loop()
    assert bodies.begun == ["a", "b", "c", "d", "e"]


async def test_a_small_one_does_not_pass_a_large_one_and_a_short_one_does_not_wait() -> None:
    bodies = Bodies()
    first = bodies.come("first", BYTES_MAX)
    bodies.come("large", BYTES_MAX)
    bodies.come("small", ASIDE_BYTES_MAX + 1)
    bodies.come("short", ASIDE_BYTES_MAX)
    await turn_of_the_loop()
    assert bodies.begun == ["first", "short"]
    bodies.turns.end(await first)
    await turn_of_the_loop()
    assert bodies.begun == ["first", "short", "large"]


async def test_one_that_is_longer_than_all_that_is_allowed_has_its_turn_alone() -> None:
    bodies = Bodies()
    small = bodies.come("small", ASIDE_BYTES_MAX + 1)
    bodies.come("huge", 2 * BYTES_MAX)
    await turn_of_the_loop()
    assert bodies.begun == ["small"]
    bodies.turns.end(await small)
    await turn_of_the_loop()
    assert bodies.begun == ["small", "huge"]


async def test_whose_request_ends_while_it_waits_or_as_its_turn_comes_holds_nobody_up() -> None:
    bodies = Bodies()
    first, waiting, called, last = (bodies.come(name, BYTES_MAX) for name in ("a", "b", "c", "d"))
    await turn_of_the_loop()
    waiting.cancel()
    await turn_of_the_loop()
    bodies.turns.end(await first)
    called.cancel()  # it was given its turn just now, and has not heard of it
    await turn_of_the_loop()
    assert bodies.begun == ["a", "d"]
    bodies.turns.end(await last)
    assert bodies.turns.bytes_at_once == 0

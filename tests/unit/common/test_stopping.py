"""The word to stop: who holds work finishes it, who holds nothing ends at once, who takes too long is canceled."""

from __future__ import annotations

import asyncio
import logging

import pytest

from libs.common import runtime
from libs.common.messaging.alarm import Alarm
from libs.common.runtime import running
from libs.common.stopping import Stopping, ended_by


async def forever() -> None:
    await asyncio.sleep(3600)


async def elapsed_s(begun: float) -> float:
    return asyncio.get_running_loop().time() - begun


async def test_a_pause_ends_with_its_time_or_with_the_word() -> None:
    stopping, clock = Stopping(), asyncio.get_running_loop().time
    begun = clock()
    await stopping.pause(0.05)
    assert 0.04 <= clock() - begun < 1
    asyncio.get_running_loop().call_later(0.02, stopping.set)
    await stopping.pause(10)
    await stopping.pause(10)  # it stays said
    await stopping.wait()
    assert clock() - begun < 1


def test_listeners_are_told_once() -> None:
    stopping, told = Stopping(), []
    stopping.tell(lambda: told.append("one"))
    stopping.tell(lambda: told.append("two"))
    assert not stopping.is_set()
    stopping.set()
    stopping.set()
    assert stopping.is_set()
    assert told == ["one", "two"]


async def test_a_loop_that_holds_nothing_is_canceled_by_the_word() -> None:
    stopping, canceled = Stopping(), asyncio.Event()

    async def loop() -> None:
        try:
            await forever()
        finally:
            canceled.set()

    asyncio.get_running_loop().call_later(0.02, stopping.set)
    async with asyncio.timeout(2):
        await ended_by(stopping, loop)()
    assert canceled.is_set()


async def test_its_own_end_and_its_errors_are_passed_on() -> None:
    async def fail() -> None:
        raise ValueError("by itself")

    with pytest.raises(ValueError, match="by itself"):
        await ended_by(Stopping(), fail)()


async def test_whoever_cancels_it_cancels_the_loop() -> None:
    ended = asyncio.Event()

    async def loop() -> None:
        try:
            await forever()
        finally:
            ended.set()

    task = asyncio.create_task(ended_by(Stopping(), loop)())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_leaving_the_block_lets_loops_finish_what_they_hold() -> None:
    stopping, finished = Stopping(), []

    async def work() -> None:
        await stopping.wait()
        await asyncio.sleep(0.1)
        finished.append("work")

    async with running("test", [work, ended_by(stopping, forever)], stopping=stopping):
        await asyncio.sleep(0.02)
    assert finished == ["work"]


async def test_what_does_not_end_in_time_is_canceled_and_named(caplog: pytest.LogCaptureFixture) -> None:
    begun = asyncio.get_running_loop().time()
    with caplog.at_level(logging.WARNING):
        async with running("test", [forever], stopping=Stopping(), grace_s=0.1):
            await asyncio.sleep(0.02)
    assert await elapsed_s(begun) < 2
    (record,) = [record for record in caplog.records if record.message == "loop did not end in time"]
    assert vars(record)["loop"] == "forever"


async def test_without_a_word_of_the_process_loops_are_canceled_at_once() -> None:
    begun = asyncio.get_running_loop().time()
    async with running("test", [forever]):
        await asyncio.sleep(0.02)
    assert await elapsed_s(begun) < 2


async def test_a_loop_that_lost_its_cancellation_is_canceled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "CANCEL_AGAIN_S", 0.05)
    lost = 0

    async def hard_of_hearing() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    async with asyncio.timeout(5), running("test", [hard_of_hearing]):
        await asyncio.sleep(0.02)
    assert lost == 2


async def test_a_ring_does_not_hide_that_its_waiter_was_canceled() -> None:
    alarm = Alarm()

    async def wait_twice() -> None:
        for _ in range(2):
            await alarm.wait(60)

    task = asyncio.create_task(wait_twice())
    await asyncio.sleep(0)
    alarm.ring()
    await asyncio.sleep(0)  # what waits within the alarm has ended; the task has not gone on yet
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)
    assert task in done
    assert task.cancelled()


async def test_a_loop_that_failed_starts_again_but_not_after_the_word() -> None:
    stopping, tries = Stopping(), 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            stopping.set()
        raise ValueError("a mistake of ours")

    async with running("test", [fail], stopping=stopping):
        await stopping.wait()
    assert tries == 2

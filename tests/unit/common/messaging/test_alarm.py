"""Waiting for an alarm: no ring after the last look is missed, and no wait outlives its time."""

from __future__ import annotations

import asyncio

from libs.common.messaging.alarm import Alarm


async def waited(alarm: Alarm, timeout_s: float) -> float:
    clock = asyncio.get_running_loop().time
    started = clock()
    await alarm.wait(timeout_s)
    return clock() - started


async def test_a_ring_before_the_wait_is_heard() -> None:
    alarm = Alarm()
    alarm.ring()
    assert await waited(alarm, 10) < 1


async def test_a_ring_during_the_wait_is_heard() -> None:
    alarm = Alarm()
    asyncio.get_running_loop().call_later(0.02, alarm.ring)
    assert await waited(alarm, 10) < 1


async def test_many_rings_are_one_reason_to_look() -> None:
    alarm = Alarm()
    for _ in range(3):
        alarm.ring()
    await alarm.wait(10)
    assert await waited(alarm, 0.05) >= 0.04


async def test_without_a_ring_the_wait_ends_in_time() -> None:
    assert 0.04 <= await waited(Alarm(), 0.05) < 1

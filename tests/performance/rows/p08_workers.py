"""P8: two workers of metering against one, on a backlog that lies in the usage topic beforehand.

The workers are held (SIGSTOP) while the backlog is made, and let go at once. How often their sessions wait for
a lock is sampled while they work.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from functools import partial

import psutil

from tests.performance.bench import Bench
from tests.performance.events import Stream, batch_bodies
from tests.performance.load import send
from tests.performance.results import Measured, compared
from tests.performance.separate import Separate

TYPE = "p8"
EVENTS = 40_000
FIRST, SECOND = "metering-worker", "metering-worker-2"
SAMPLE_EVERY_S = 0.02
SHARED_OUT_S = 3.0
CORES_MIN = 4
LOCK_SHARE_MAX = 0.05

_WAITING = """
    SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') FROM pg_stat_activity
    WHERE datname = 'perennial_metering' AND usename = 'perennial_worker' AND state = 'active'
"""


@dataclass(slots=True)
class Sampled:
    active: int = 0
    waiting: int = 0

    @property
    def share(self) -> float:
        return self.waiting / self.active if self.active else 0.0


async def measure(bench: Bench) -> list[Measured]:
    separate = bench.separate()
    await separate.define_meter(TYPE)
    sampled = Sampled()
    has_second = False
    pairs: list[tuple[float, float]] = []

    async def two() -> float:
        nonlocal has_second
        if not has_second:
            add = separate.fleet.start if SECOND in separate.fleet.names else partial(_add, separate)
            await asyncio.to_thread(add, SECOND)
            has_second = True
            await asyncio.sleep(SHARED_OUT_S)
        return await _drain(bench, separate, (FIRST, SECOND), sampled)

    async def one() -> float:
        nonlocal has_second
        if has_second:
            await asyncio.to_thread(separate.fleet.terminate, SECOND)
            has_second = False
            await asyncio.sleep(SHARED_OUT_S)
        return await _drain(bench, separate, (FIRST,), None)

    await one()  # a warm-up
    for run in range(bench.runs):  # one two, two one, one two: each start of the second serves two runs
        if run % 2:
            ours = await two()
            theirs = await one()
        else:
            theirs = await one()
            ours = await two()
        pairs.append((ours, theirs))
    if has_second:
        await asyncio.to_thread(separate.fleet.terminate, SECOND)
    cores = os.cpu_count() or 1
    note = f"{cores} cores; of the samples of working sessions, {sampled.share:.1%} waited for a lock"
    assert sampled.active, "sessions were seen at work"
    excused = cores < CORES_MIN and sampled.share <= LOCK_SHARE_MAX
    return [compared("P8", pairs, "events/s", note=note, only_reported=excused)]


def _add(separate: Separate, name: str) -> None:
    separate.fleet.add(name, like=FIRST, PERENNIAL_MEMBER=name)


async def _drain(
    bench: Bench, separate: Separate, workers: tuple[str, ...], sampled: Sampled | None
) -> float:
    """Events a second, from when the workers are let go until all are counted."""
    stream = Stream(TYPE, bench.new_day(), bench.sized(EVENTS, least=2_000))
    processes = [psutil.Process(separate.fleet.pid(name)) for name in workers]
    try:
        for process in processes:
            process.suspend()
        told = await send(separate.load(partial(batch_bodies, stream)))
    finally:
        began = time.monotonic()
        for process in processes:
            process.resume()
    assert told.counts["accepted"] == stream.event_count, (told.counts, told.statuses)
    sampling = asyncio.create_task(_sample(separate, sampled)) if sampled is not None else None
    ended = await separate.until_counted(stream)
    if sampling is not None:
        sampling.cancel()
    return stream.event_count / (ended - began)


async def _sample(separate: Separate, sampled: Sampled) -> None:
    async with separate.admin() as admin:
        while True:
            active, waiting = await admin.fetchrow(_WAITING)
            sampled.active += active
            sampled.waiting += waiting
            await asyncio.sleep(SAMPLE_EVERY_S)

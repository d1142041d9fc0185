"""P11: the resident memory of the one process, idle after its start, and at most under the load of P1."""

from __future__ import annotations

import asyncio
from functools import partial

import psutil

from tests.performance.bench import Bench, Subject
from tests.performance.events import Stream, batch_bodies
from tests.performance.load import generator
from tests.performance.results import Measured, alone
from tests.performance.rows.p01_ingest import CONNECTIONS, EVENTS

TYPE = "p11"
MB = 1_000_000
SETTLE_S = 5.0
LOOK_EVERY_S = 0.1


async def measure(bench: Bench) -> list[Measured]:
    with bench.subject("memory") as subject:
        process = psutil.Process(subject.process.pid)
        await asyncio.sleep(SETTLE_S * min(1.0, bench.scale))
        idle = []
        for _ in range(bench.runs):
            await asyncio.sleep(LOOK_EVERY_S)
            idle.append(process.memory_info().rss / MB)
        idle_postgres = _postgres_mb(subject)
        await subject.define_meter(TYPE)
        loaded = [await _under_load(bench, subject, process) for _ in range(bench.runs)]
        loaded_postgres = _postgres_mb(subject)
    note = "PostgreSQL beside it: {:.0f} MB, what its processes share counted once"
    return [
        alone("P11 idle", idle, "MB", note=note.format(idle_postgres)),
        alone("P11 load", loaded, "MB", note=note.format(loaded_postgres)),
    ]


async def _under_load(bench: Bench, subject: Subject, process: psutil.Process) -> float:
    """The most that was seen while a stream came in."""
    stream = Stream(TYPE, bench.new_day(), bench.sized(EVENTS, least=1_000))
    load = subject.load(partial(batch_bodies, stream), connections=CONNECTIONS)
    async with generator(load) as ready:
        running = asyncio.create_task(ready.run())
        most = 0
        while not running.done():
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(LOOK_EVERY_S)
        assert (await running).stored == stream.event_count
    return most / MB


def _postgres_mb(subject: Subject) -> float:
    """Proportional set sizes: shared buffers count once, however many backends have touched them."""
    found = 0
    for process in psutil.process_iter():
        try:
            if "postgres" in process.name() and process.cwd() == str(subject.postgres_data):
                found += process.memory_full_info().pss
        except psutil.Error:
            continue
    return found / MB

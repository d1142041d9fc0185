"""P10: what row policies cost: ingest and usage questions with them on and off, on the same tables.

A superuser disables them for all of metering's tables and enables them again; all else stays as it is.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from tests.performance.bench import Bench, Subject
from tests.performance.events import Stream, batch_bodies
from tests.performance.load import send
from tests.performance.results import Measured, compared
from tests.performance.rows.p01_ingest import CONNECTIONS

TYPE = "p10"
EVENTS = 30_000
QUESTIONS = 300
ASKERS = 4

_TABLES = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind IN ('r', 'p') AND relforcerowsecurity AND relnamespace = 'public'::regnamespace
"""


async def measure(bench: Bench) -> list[Measured]:
    subject = bench.shared()
    await subject.define_meter(TYPE)
    async with subject.admin("perennial_metering") as admin:
        tables = [row[0] for row in await admin.fetch(_TABLES)]
    assert "usage_event" in tables

    async def switch(word: str) -> None:
        async with subject.admin("perennial_metering") as admin:
            for table in tables:
                await admin.execute(f"ALTER TABLE {table} {word} ROW LEVEL SECURITY")

    async def on() -> float:
        await switch("ENABLE")
        return await _work(bench, subject)

    async def off() -> float:
        await switch("DISABLE")
        try:
            return await _work(bench, subject)
        finally:
            await switch("ENABLE")

    pairs = await bench.interleaved(on, off)
    note = f"{EVENTS:,} events stored and {QUESTIONS} usage questions answered; rounds per second"
    return [compared("P10", pairs, "rounds/s", note=note)]


async def _work(bench: Bench, subject: Subject) -> float:
    """A stream stored, then questions answered; how many such rounds a second."""
    stream = Stream(TYPE, bench.new_day(), bench.sized(EVENTS, least=1_000))
    told = await send(subject.load(partial(batch_bodies, stream), connections=CONNECTIONS))
    assert told.stored == stream.event_count, told.statuses
    questions = list(range(bench.sized(QUESTIONS, least=20)))
    async with subject.client() as client:

        async def ask() -> None:
            while questions:
                assert await subject.usage_of(client, stream, stream.subject(questions.pop()))

        await subject.usage_of(client, stream, stream.subject(0))
        began = time.monotonic()
        await asyncio.gather(*(ask() for _ in range(ASKERS)))
        asked_s = time.monotonic() - began
    return 1 / (told.seconds + asked_s)

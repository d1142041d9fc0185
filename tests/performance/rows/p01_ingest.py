"""P1: durable, de-duplicated ingest in the one process, against the script written by hand."""

from __future__ import annotations

from functools import partial

from tests.performance.bare_ingest import bare_database, write_bare
from tests.performance.bench import Bench, Subject
from tests.performance.events import Stream, batch_bodies
from tests.performance.load import send
from tests.performance.results import Measured, compared

TYPE = "p1"
EVENTS = 60_000
CONNECTIONS = 8


async def measure(bench: Bench) -> list[Measured]:
    subject = bench.shared()
    await subject.define_meter(TYPE)
    shares: list[float] = []

    async def ours() -> float:
        rate, share = await ingest(bench, subject, TYPE)
        shares.append(share)
        return rate

    async with bare_database(subject.dsn()) as dsn:

        async def theirs() -> float:
            return await write(bench, dsn)

        pairs = await bench.interleaved(ours, theirs)
    row = compared("P1", pairs, "events/s", note=f"load generator: {max(shares):.0%} of a core, not counted")
    bench.known["saturation"] = row.figure
    return [row]


async def ingest(bench: Bench, subject: Subject, type: str, event_count: int = EVENTS) -> tuple[float, float]:
    """One stream, in batches, over HTTP; until every sum can be asked for. Events a second; generator's share."""
    stream = Stream(type, bench.new_day(), bench.sized(event_count, least=1_000))
    told = await send(subject.load(partial(batch_bodies, stream), connections=CONNECTIONS))
    await subject.check_stored(stream, told)
    return stream.event_count / told.seconds, told.cpu_share


async def write(bench: Bench, dsn: str) -> float:
    """The same number of events by the bare script; events a second."""
    stream = Stream(TYPE, bench.new_day(), bench.sized(EVENTS, least=1_000))
    written = await write_bare(dsn, stream)
    assert (written.events, written.total) == (stream.event_count, stream.total())
    return stream.event_count / written.seconds

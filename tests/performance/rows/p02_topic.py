"""P2: ingest through the usage topic on real Kafka, by separate processes, against the script written by hand."""

from __future__ import annotations

from functools import partial

from tests.performance.bare_ingest import bare_database, write_bare
from tests.performance.bench import Bench
from tests.performance.events import Stream, batch_bodies
from tests.performance.load import generator
from tests.performance.results import Measured, compared
from tests.performance.rows.p01_ingest import CONNECTIONS

TYPE = "p2"
EVENTS = 50_000


async def measure(bench: Bench) -> list[Measured]:
    separate = bench.separate()
    await separate.define_meter(TYPE)
    count = bench.sized(EVENTS, least=1_000)
    accepted: list[float] = []

    async def ours() -> float:
        """From the first byte that is sent until the last event is counted."""
        stream = Stream(TYPE, bench.new_day(), count)
        async with generator(separate.load(partial(batch_bodies, stream), connections=CONNECTIONS)) as ready:
            told = await ready.run()
        assert told.counts["accepted"] == count, (told.counts, told.statuses)
        counted_at = await separate.until_counted(stream)
        accepted.append(count / told.seconds)
        return count / (counted_at - told.started_at)

    async with bare_database(separate.dsn()) as dsn:

        async def theirs() -> float:
            stream = Stream(TYPE, bench.new_day(), count)
            written = await write_bare(dsn, stream)
            assert (written.events, written.total) == (count, stream.total())
            return count / written.seconds

        pairs = await bench.interleaved(ours, theirs)
    note = f"accepted by Kafka at up to {max(accepted):,.0f} events/s; Kafka, gateway and eight processes share the cores"
    return [compared("P2", pairs, "events/s", note=note)]

"""P3: the ingest of P1 against the ordinary way, on the same PostgreSQL."""

from __future__ import annotations

from functools import partial

from tests.performance import ordinary_way
from tests.performance.bench import Bench, create_database
from tests.performance.events import Stream, batch_bodies
from tests.performance.load import batch_load, send
from tests.performance.results import Measured, compared
from tests.performance.rows.p01_ingest import CONNECTIONS, ingest
from tests.performance.servers import serving

TYPE = "p3"
EVENTS = 30_000
ORDINARY_EVENTS = 4_000


async def measure(bench: Bench) -> list[Measured]:
    subject = bench.shared()
    await subject.define_meter(TYPE)
    await create_database(subject, ordinary_way.DATABASE)
    dsn = subject.sqlalchemy_dsn(ordinary_way.DATABASE)

    async def ours() -> float:
        rate, _ = await ingest(bench, subject, TYPE, EVENTS)
        return rate

    async with serving(partial(ordinary_way.ordinary_app, dsn)) as port:

        async def theirs() -> float:
            stream = Stream(TYPE, bench.new_day(), bench.sized(ORDINARY_EVENTS, least=500))
            make = partial(batch_bodies, stream)
            told = await send(
                batch_load(port, "", make, media_type="application/json", connections=CONNECTIONS)
            )
            assert told.stored == stream.event_count, told.statuses
            return stream.event_count / told.seconds

        pairs = await bench.interleaved(ours, theirs)
    return [compared("P3", pairs, "events/s")]

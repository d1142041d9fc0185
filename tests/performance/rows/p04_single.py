"""P4: one event in one request, durable and authorised, against a route that does nothing."""

from __future__ import annotations

from functools import partial

from tests.performance.bench import Bench
from tests.performance.events import Stream, single_bodies
from tests.performance.load import Load, Told, send
from tests.performance.results import Measured, compared
from tests.performance.servers import noop_app, serving

TYPE = "p4"
CONNECTIONS = 128
SECONDS = 3.0
EVENTS = 40_000  # more than are sent in that time
MEDIA_TYPE = "application/cloudevents+json"


async def measure(bench: Bench) -> list[Measured]:
    subject = bench.shared()
    await subject.define_meter(TYPE)
    seconds = max(0.3, SECONDS * bench.scale)
    shares: list[float] = []

    def rate(told: Told) -> float:
        shares.append(told.cpu_share)
        return told.requests / told.seconds

    async def ours() -> float:
        stream = Stream(TYPE, bench.new_day(), bench.sized(EVENTS, least=4_000))
        make = partial(single_bodies, stream)
        told = await send(subject.load(make, media_type=MEDIA_TYPE, connections=CONNECTIONS, seconds=seconds))
        assert told.stored == told.requests, told.statuses
        return rate(told)

    async with serving(noop_app) as port:

        async def theirs() -> float:
            make = partial(single_bodies, Stream(TYPE, 0, 1_000))
            load = Load(
                port=port,
                path="/v1/usage-events",
                make=make,
                token=subject.process.token,
                media_type=MEDIA_TYPE,
                connections=CONNECTIONS,
                seconds=seconds,
                again=True,
            )
            return rate(await send(load))

        pairs = await bench.interleaved(ours, theirs)
    note = f"{CONNECTIONS} connections; load generator: up to {max(shares):.0%} of a core, not counted"
    return [compared("P4", pairs, "requests/s", note=note)]

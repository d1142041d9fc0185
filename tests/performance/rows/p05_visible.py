"""P5: how long after it was sent an event stands in the usage answer, while half of what can be taken in comes in."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial

import httpx

from tests.performance.bench import Bench, Subject
from tests.performance.events import SIZES, SOURCE, Stream, batch_bodies
from tests.performance.load import generator
from tests.performance.results import Measured, alone
from tests.performance.rows.p01_ingest import ingest

TYPE = "p5"
SECONDS = 6.0
PROBERS = 4
LOAD_SHARE = 0.5


async def measure(bench: Bench) -> list[Measured]:
    subject = bench.shared()
    await subject.define_meter(TYPE)
    saturation = bench.known.get("saturation")
    if saturation is None:
        saturation, _ = await ingest(bench, subject, TYPE)
    rate = saturation * LOAD_SHARE
    seconds = max(1.0, SECONDS * bench.scale)
    percentiles: list[float] = []
    probes = 0
    for _ in range(bench.runs):
        found = await _run(bench, subject, rate, seconds)
        probes += len(found)
        percentiles.append(found[int(len(found) * 0.99)] * 1000)
    note = f"{probes} probes in all, under {rate:,.0f} events/s in batches"
    return [alone("P5", percentiles, "ms", note=note)]


async def _run(bench: Bench, subject: Subject, rate: float, seconds: float) -> list[float]:
    """The probes' times in seconds, sorted."""
    stream = Stream(TYPE, bench.new_day(), int(rate * seconds))
    mean = sum(SIZES) / 2
    load = subject.load(partial(batch_bodies, stream), requests_per_s=rate / mean)
    async with generator(load) as ready, subject.client() as client:
        await subject.usage_of(client, stream, "warm-up")
        ready.go()
        end_at = time.monotonic() + seconds * 0.95
        found = await asyncio.gather(
            *(_probe(subject, client, stream, number, end_at) for number in range(PROBERS))
        )
        told = await ready.told()
    assert told.stored == stream.event_count, told.statuses
    return sorted(elapsed for each in found for elapsed in each)


async def _probe(
    subject: Subject, client: httpx.AsyncClient, stream: Stream, number: int, end_at: float
) -> list[float]:
    """One event at a time, each of a thing of its own, asked for until it is counted."""
    found: list[float] = []
    while time.monotonic() < end_at:
        name = f"probe-{number}-{len(found)}"
        event = {
            "specversion": "1.0",
            "id": f"{TYPE}-{stream.day}-{name}",
            "source": SOURCE,
            "type": TYPE,
            "subject": name,
            "time": stream.starts_at.isoformat(),
            "data": {"minutes": 1},
        }
        headers = {"content-type": "application/cloudevents+json"}
        began = time.monotonic()
        answer = await client.post("/v1/usage-events", content=json.dumps(event), headers=headers)
        assert answer.status_code == 200, answer.text
        while not await subject.usage_of(client, stream, name):  # noqa: ASYNC110  # another process counts it
            await asyncio.sleep(0.005)
        found.append(time.monotonic() - began)
        await asyncio.sleep(0.02)
    return found

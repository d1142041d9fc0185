"""P12: kill -9 under load; how long until events are accepted again, and until nothing is left behind."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from itertools import count

from libs.common.contracts import SERVICES
from tests.performance.bench import Bench, Subject
from tests.performance.events import Stream, batch_bodies
from tests.performance.load import generator
from tests.performance.results import Measured, alone

TYPE = "p12"
EVENTS = 400_000  # more than are sent before it is stopped
CUSTOMERS = 400
CALLERS = 8
BEFORE_S, AFTER_S = 2.0, 1.0
LAG_TIMEOUT_S = 120

_UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
_UNHANDLED = """
    SELECT coalesce(sum(p.next - o."offset"), 0)
    FROM bus_offset o JOIN bus_partition p USING (topic, partition)
"""


async def measure(bench: Bench) -> list[Measured]:
    accepting: list[float] = []
    lag_gone: list[float] = []
    with bench.subject("kill", port=bench.free_port()) as subject:
        await subject.define_meter(TYPE)
        for run in range(bench.runs):
            accepted_s, gone_s = await _kill(bench, subject, run)
            accepting.append(accepted_s)
            lag_gone.append(gone_s)
    note = "the process comes back at once, as a supervisor would start it; every event sent is counted once"
    return [
        alone("P12 accepting", accepting, "s", note=note),
        alone("P12 lag", lag_gone, "s", note="outboxes published, and every group at the end of its topics"),
    ]


async def _kill(bench: Bench, subject: Subject, run: int) -> tuple[float, float]:
    """Events stream in and customers are made; then the process is killed and started again."""
    stream = Stream(TYPE, bench.new_day(), bench.sized(EVENTS, least=20_000))
    load = subject.load(partial(batch_bodies, stream), connections=4, stubborn=True)
    async with generator(load) as ready:
        ready.go()
        made = asyncio.create_task(_make_customers(bench, subject, run))
        await asyncio.sleep(BEFORE_S * min(1.0, bench.scale * 5))
        killed_at = time.monotonic()
        subject.process.kill()
        await asyncio.gather(made, return_exceptions=True)
        await asyncio.to_thread(subject.process.start)
        await _until_no_lag(subject)
        gone_at = time.monotonic()
        await asyncio.sleep(AFTER_S)
        ready.stop()
        told = await ready.told()
    assert told.first_reconnected_answer_at is not None, "it accepted nothing after it was killed"
    async with subject.admin("perennial_metering") as admin:
        stored = await admin.fetchval(
            "SELECT sum(b.event_count) FROM usage_bucket b JOIN meter m ON m.id = b.meter_id "
            "WHERE m.code = $1 AND b.bucket_start >= $2 AND b.bucket_start < $3",
            TYPE,
            stream.starts_at,
            stream.ends_at,
        )
    # Those that were stored when the answer was lost were sent again, and answered as duplicates.
    assert int(stored) == told.stored + told.counts["duplicate"], (stored, told.counts, told.statuses)
    return told.first_reconnected_answer_at - killed_at, gone_at - killed_at


async def _make_customers(bench: Bench, subject: Subject, run: int) -> None:
    """So that there are events on their way when the process dies."""
    numbers = count()
    last = bench.sized(CUSTOMERS * 10, least=50)
    async with subject.client() as client:

        async def make() -> None:
            while (number := next(numbers)) < last:
                await client.post(
                    "/v1/customers",
                    json={"name": f"Customer {run}-{number}"},
                    headers={"idempotency-key": f"p12-{run}-{number}"},
                )

        await asyncio.gather(*(make() for _ in range(CALLERS)))


async def _until_no_lag(subject: Subject) -> None:
    """Looked at in the databases themselves. Raises: TimeoutError."""
    async with asyncio.timeout(LAG_TIMEOUT_S):
        while await _lag(subject):  # noqa: ASYNC110  # of other processes
            await asyncio.sleep(0.05)


async def _lag(subject: Subject) -> int:
    lag = 0
    for database in (f"perennial_{service}" for service in SERVICES):
        async with subject.admin(database) as admin:
            lag += int(await admin.fetchval(_UNPUBLISHED))
    async with subject.admin("perennial_bus") as admin:
        return lag + int(await admin.fetchval(_UNHANDLED))

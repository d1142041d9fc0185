"""A billing run: 10,000 subscriptions with ten lines each, counted, and then finalized; and how much memory it takes."""

from __future__ import annotations

import asyncio
import time

import httpx
import psutil

from libs.common.ids import new_id
from tests.performance.bench import Bench
from tests.performance.renewals import Renewals
from tests.performance.results import Measured, alone

SUBSCRIPTIONS = 10_000
LINES_EACH = 10
LOOK_EVERY_S = 0.1
TIMEOUT_S = 1_200
MB = 1_000_000
FAR_AHEAD = "2030-01-01T00:00:00Z"


async def measure(bench: Bench) -> list[Measured]:
    count = bench.sized(SUBSCRIPTIONS, least=20)
    with bench.subject("billing-run") as subject:
        story = Renewals(subject, count, lines_each=LINES_EACH)
        await story.prepare(finalizes=False)
        process = psutil.Process(subject.process.pid)
        before = process.memory_info().rss / MB
        async with subject.client() as client:
            dry_s, _ = await _run(client, process, dry=True)
            took_s, most = await _run(client, process, dry=False)
            run = (await client.get("/v1/billing-runs", params={"state": "finished"})).json()["data"][-1]
        async with subject.admin("perennial_billing") as admin:
            invoices = await admin.fetchval("SELECT count(*) FROM invoice WHERE number IS NOT NULL")
            lines = await admin.fetchval("SELECT count(*) FROM invoice_line")
    assert (invoices, lines, run["progress"]["finalized"]) == (count, count * LINES_EACH, count)
    note = (
        f"{count:,} subscriptions, {LINES_EACH} lines each, in {took_s:.1f} s, all of it counted and finalized; "
        f"{lines / took_s:,.0f} lines/s; run dry in {dry_s:.1f} s"
    )
    beside = f"before it {before:.0f} MB"
    return [
        alone("run invoices", [invoices / took_s], "invoices/s", note=note),
        alone("run memory", [most / MB], "MB", note=beside),
    ]


async def _run(client: httpx.AsyncClient, process: psutil.Process, *, dry: bool) -> tuple[float, int]:
    """From asking for it until it is finished; and the most memory that was seen meanwhile."""
    began, most = time.monotonic(), 0
    body = {"until": FAR_AHEAD, "dry_run": dry}
    answer = await client.post("/v1/billing-runs", json=body, headers={"idempotency-key": new_id("key")})
    assert answer.status_code == 202, answer.text
    path = answer.headers["location"]
    while True:
        most = max(most, process.memory_info().rss)
        run = (await client.get(path)).json()
        if run["state"] not in ("counting", "running"):
            assert run["state"] == "finished", run
            return time.monotonic() - began, most
        assert time.monotonic() - began < TIMEOUT_S, run["progress"]
        await asyncio.sleep(LOOK_EVERY_S)

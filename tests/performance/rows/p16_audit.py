"""audit: 10,000 subscriptions and ten months of theirs, 100,000 invoices, looked at by `perennial audit`.

Making them takes a quarter of an hour and more, so it is measured only when it is named.
"""

from __future__ import annotations

import asyncio
import json
import time

import psutil

from tests.performance.bench import Bench, Subject
from tests.performance.renewals import Renewals
from tests.performance.results import Measured, alone
from tests.support.demo import AUDIT, operators_environment

SUBSCRIPTIONS, MONTHS = 10_000, 10
LOOK_EVERY_S = 0.2
MB = 1_000_000


async def measure(bench: Bench) -> list[Measured]:
    count = bench.sized(SUBSCRIPTIONS, least=20)
    with bench.subject("audit") as subject:
        story = Renewals(subject, count)
        await story.prepare()
        for _ in range(MONTHS - 1):
            await story.pass_month()
        process = psutil.Process(subject.process.pid)
        took_s, most = await _audit(subject, process)
        async with subject.admin("perennial_billing") as admin:
            invoices = await admin.fetchval("SELECT count(*) FROM invoice WHERE number IS NOT NULL")
            lines = await admin.fetchval("SELECT count(*) FROM invoice_line")
    assert invoices == count * MONTHS
    note = f"{invoices:,} invoices, {lines:,} lines, in {took_s:.0f} s; all four services, nothing found"
    return [
        alone("audit invoices", [invoices / took_s], "invoices/s", note=note),
        alone("audit memory", [most / MB], "MB", note="of the one process, which also serves"),
    ]


async def _audit(subject: Subject, process: psutil.Process) -> tuple[float, int]:
    """How long the command took, and the most memory that the services were seen to have meanwhile."""
    began, most = time.monotonic(), 0
    running = await asyncio.create_subprocess_exec(
        *AUDIT, env=operators_environment(subject.process), stdout=asyncio.subprocess.PIPE
    )
    told = asyncio.create_task(running.communicate())
    while not told.done():
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(LOOK_EVERY_S)
    took_s = time.monotonic() - began
    report = json.loads((await told)[0])
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]
    return took_s, most

"""scale: ten million events loaded, then the month of each subscription asked for, and what all of it takes on disk.

It takes a quarter of an hour and more, so it is measured only when it is named.
"""

from __future__ import annotations

from tests.performance.bench import Bench, Subject
from tests.performance.month_of_machines import MachineMonth, ask_many
from tests.performance.renewals import Renewals
from tests.performance.results import Measured, alone
from tests.performance.rows.p06_others import load

SUBSCRIPTIONS = 1_000
EVENTS = 10_000_000
QUESTIONS = 2_000
MILLION, MB = 1_000_000, 1_000_000

_SIZES = """
    SELECT sum(pg_table_size(t.relid)), sum(pg_indexes_size(t.relid))
    FROM unnest(ARRAY['usage_event', 'usage_key', 'usage_bucket']::regclass[]) AS r(root)
    CROSS JOIN LATERAL pg_partition_tree(r.root) AS t WHERE t.isleaf
"""


async def measure(bench: Bench) -> list[Measured]:
    with bench.subject("scale") as subject:
        renewals = Renewals(subject, SUBSCRIPTIONS)
        await renewals.prepare()
        table_before, index_before = await _sizes(subject)
        count = bench.sized(EVENTS, least=20_000)
        seconds = await load(subject, MachineMonth("scale", count, SUBSCRIPTIONS))
        async with subject.admin("perennial_metering") as admin:
            await admin.execute("VACUUM ANALYZE")
        table, index = await _sizes(subject)
        async with subject.client() as client:
            await ask_many(client, renewals.ids, SUBSCRIPTIONS)
            elapsed = sorted(await ask_many(client, renewals.ids, bench.sized(QUESTIONS, least=100)))
    loaded = f"{count:,} events of {SUBSCRIPTIONS:,} subscriptions in one month, 1,000 in a request"
    asked = f"over HTTP, one after the other, {len(elapsed):,} questions"
    return [
        alone("scale load", [count / seconds], "events/s", note=loaded),
        alone("scale median", [elapsed[len(elapsed) // 2] * 1_000], "ms", note=asked),
        alone("scale p99", [elapsed[int(len(elapsed) * 0.99)] * 1_000], "ms"),
        alone("scale tables", [(table - table_before) / MB / count * MILLION], "MB per million events"),
        alone("scale indexes", [(index - index_before) / MB / count * MILLION], "MB per million events"),
    ]


async def _sizes(subject: Subject) -> tuple[int, int]:
    """Of events, identities and running sums: tables, and indexes, in bytes."""
    async with subject.admin("perennial_metering") as admin:
        found = await admin.fetchrow(_SIZES)
    assert found is not None, "sums have one row"
    return int(found[0]), int(found[1])

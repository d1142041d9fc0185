"""P7 and P9: 10,000 renewals become numbered invoices; and the same when nothing is due."""

from __future__ import annotations

import statistics

from libs.common.contracts import SERVICES
from tests.performance.bare_rows import transaction_id, write_again
from tests.performance.bench import Bench
from tests.performance.renewals import Renewals
from tests.performance.results import Measured, compared

SUBSCRIPTIONS = 10_000
A_TRANSACTION = 500
RUNS_MAX = 3  # each takes a minute or more


async def measure(bench: Bench) -> list[Measured]:
    count = bench.sized(SUBSCRIPTIONS, least=20)
    transactions = max(1, count // A_TRANSACTION)
    renewals: list[tuple[float, float]] = []
    repeats: list[tuple[float, float]] = []
    at_rest: list[float] = []
    copied: list[float] = []
    with bench.subject("renewals") as subject:
        story = Renewals(subject, count)
        await story.prepare()
        databases = [subject.dsn(f"perennial_{name}") for name in (*SERVICES, "bus")]
        for _ in range(min(bench.runs, RUNS_MAX)):
            since = await transaction_id(databases[0])
            month = await story.pass_month()
            written = await write_again(
                databases, since=since, until=month.finalized_by, transactions=transactions
            )
            renewals.append((count / month.finalized_s, count / written.seconds))
            repeats.append((await story.pass_minute(), month.at_rest_s))
            at_rest.append(month.at_rest_s)
            copied.append(written.copied_s / month.finalized_s)
    note = (
        f"{count:,} subscriptions, two lines each, {len(renewals)} runs; {written.rows:,} rows; all are paid, and "
        f"all services know, after {statistics.median(at_rest):.0f} s; beside a writer that copies instead of "
        f"inserting: {statistics.median(copied):.3f}"
    )
    nothing = "moving the clock over a boundary at which all are due, then by a minute in which nothing is"
    return [
        compared("P7", renewals, "subscriptions/s", note=note),
        compared("P9", repeats, "s", note=nothing),
    ]

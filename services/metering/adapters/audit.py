"""What must hold in metering, looked at once more: running sums are what raw events say, and totals are what was used."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.persistence.audit import (
    AuditCheck,
    AuditReport,
    check_of,
    common_checks,
    count_facts,
    open_audit,
    run_check,
)
from libs.common.persistence.session import Database
from services.metering.adapters import row_mapping
from services.metering.adapters.rows import usage_offset, usage_window
from services.metering.domain.usage_window import Offsets

BATCH_MAX = 500
OVERDUE_S = 60

# Every bucket of every meter made again from raw events, in one pass over them.
_BUCKETS_WRONG = """
    WITH counted AS (
        SELECT e.tenant, m.id AS meter_id, e.subject,
               date_bin(make_interval(secs => m.bucket_s), e.occurred_at, '1970-01-01 00:00:00+00') AS bucket_start,
               usage_group(e.data, m.dimensions) AS group_key, count(*) AS event_count,
               sum(usage_value(e.data, m.value_path)) AS total, max(usage_value(e.data, m.value_path)) AS maximum
        FROM meter m JOIN usage_event e ON e.tenant = m.tenant AND e.type = m.event_type
        WHERE usage_matches(e.data, m.filters)
          AND (m.value_path IS NULL OR usage_value(e.data, m.value_path) IS NOT NULL)
        GROUP BY 1, 2, 3, 4, 5
    )
    SELECT tenant, meter_id, subject, bucket_start, group_key, b.event_count, c.event_count AS counted_events,
           b.total, c.total AS counted_total, b.maximum, c.maximum AS counted_maximum
    FROM usage_bucket b FULL JOIN counted c USING (tenant, meter_id, subject, bucket_start, group_key)
    WHERE (b.event_count, b.total, b.maximum) IS DISTINCT FROM (c.event_count, c.total, c.maximum)
"""
# Keys and events are stored together; while nothing has been dropped by age, there are as many of each.
_KEYS_WRONG = """
    SELECT tenant, k.keys, e.events
    FROM (SELECT tenant, count(*) AS keys FROM usage_key GROUP BY tenant) k
    FULL JOIN (SELECT tenant, count(*) AS events FROM usage_event GROUP BY tenant) e USING (tenant)
    WHERE k.keys IS DISTINCT FROM e.events
"""
_OVERDUE = f"""
    SELECT w.tenant, w.id, w.state, w.due_at, w.last_error
    FROM usage_window w LEFT JOIN known_clock c ON c.id = w.clock_id
    WHERE w.due_at < CASE WHEN w.clock_id IS NULL THEN clock_timestamp() ELSE c.now END
                     - interval '{OVERDUE_S} s'
"""
_CORRECTIONS_STUCK = f"""
    SELECT tenant, id, window_id, noted_at, last_error FROM late_usage
    WHERE noted_at < clock_timestamp() - interval '{OVERDUE_S} s'
"""
# What senders can read of their batches is what is there. Batches whose results are no longer kept say nothing.
_BATCHES_WRONG = """
    SELECT b.tenant, b.batch_id, b.stored, coalesce(e.events, 0) AS events
    FROM (SELECT tenant, batch_id, sum(stored) AS stored FROM usage_batch GROUP BY 1, 2) b
    LEFT JOIN (
        SELECT tenant, batch_id, count(*) AS events
        FROM usage_event JOIN (SELECT DISTINCT tenant, batch_id FROM usage_batch) known USING (tenant, batch_id)
        GROUP BY 1, 2
    ) e USING (tenant, batch_id)
    WHERE b.stored <> coalesce(e.events, 0)
"""
# Two that overlap while one's release is on its way are said here too: the audit runs when all is at rest.
_BINDINGS_OVERLAP = """
    SELECT a.tenant, a.subject, a.meter, a.id, b.id AS other_id
    FROM subject_binding a JOIN subject_binding b
      ON b.tenant = a.tenant AND b.subject = a.subject AND b.meter = a.meter AND b.id > a.id
     AND greatest(a.bound_from, b.bound_from)
         < least(coalesce(a.bound_until, 'infinity'), coalesce(b.bound_until, 'infinity'))
"""
# The slow way to a total: every event of every binding, no running sum.
_RECOUNT = """
    SELECT w.id AS window_id, item ->> 'item_id' AS item_id, item ->> 'price_id' AS price_id,
           count(e.key) AS event_count,
           CASE max(m.aggregation) WHEN 'count' THEN count(e.key)::numeric
               WHEN 'sum' THEN coalesce(sum(usage_value(e.data, m.value_path)), 0)
               ELSE coalesce(max(usage_value(e.data, m.value_path)), 0) END AS quantity
    FROM usage_window w
    CROSS JOIN jsonb_array_elements(w.items) AS item
    CROSS JOIN LATERAL (
        SELECT greatest((span ->> 'start')::timestamptz, w.window_start) AS starts,
               least((span ->> 'end')::timestamptz, w.window_end) AS ends
        FROM jsonb_array_elements(coalesce(item -> 'spans', '[{}]')) AS span
    ) held
    LEFT JOIN meter m ON m.tenant = w.tenant AND m.code = item ->> 'meter'
    LEFT JOIN subject_binding b ON b.tenant = w.tenant AND b.item_id = item ->> 'item_id'
        AND b.meter = m.code AND b.bound_from < held.ends
        AND (b.bound_until IS NULL OR b.bound_until > held.starts)
    LEFT JOIN usage_event e ON e.tenant = w.tenant AND e.subject = b.subject AND e.type = m.event_type
        AND e.occurred_at >= greatest(held.starts, b.bound_from)
        AND e.occurred_at < least(held.ends, b.bound_until)
        AND usage_matches(e.data, m.filters)
        AND (m.value_path IS NULL OR usage_value(e.data, m.value_path) IS NOT NULL)
    WHERE w.id = ANY($1)
    GROUP BY w.id, item
"""
# By item and price: the quantity and how many events stand behind it. What was not used is left out.
_Counted = dict[tuple[str, str | None], tuple[Decimal, int]]

_FACTS = {
    "usage_key_count": "SELECT count(*) FROM usage_key",
    "usage_event_count": "SELECT count(*) FROM usage_event",
    "usage_batch_count": "SELECT count(DISTINCT (tenant, batch_id)) FROM usage_batch",
    "usage_batches_incomplete": """
        SELECT count(*) FROM (
            SELECT FROM usage_batch GROUP BY tenant, batch_id
            HAVING sum(stored + duplicate + conflict + rejected) < max(batch_event_count)
        ) AS found
    """,
    "usage_reject_count": "SELECT count(*) FROM usage_reject",
    "usage_conflict_count": "SELECT count(*) FROM usage_conflict",
    "meter_count": "SELECT count(*) FROM meter",
    "usage_window_count": "SELECT count(*) FROM usage_window",
    "closed_window_count": "SELECT count(*) FROM usage_window WHERE state = 'closed'",
}


async def audit_metering(database: Database, *, usage_ends: Offsets | None = None) -> AuditReport:
    """All tenants, in one snapshot. `database` logs in as the audit role.

    `usage_ends` are the ends of the usage topic. What was accepted and is not stored yet is no failure: it is told
    as a fact, `usage_records_waiting`, and is None where nobody knows.
    """
    async with open_audit(database) as connection:
        checks = (
            await run_check(connection, "running_sums", _BUCKETS_WRONG, "SELECT count(*) FROM usage_bucket"),
            await run_check(connection, "keys_and_events", _KEYS_WRONG, "SELECT count(*) FROM usage_key"),
            await run_check(
                connection,
                "usage_batches",
                _BATCHES_WRONG,
                "SELECT count(DISTINCT (tenant, batch_id)) FROM usage_batch",
            ),
            await _check_totals(connection),
            await run_check(
                connection,
                "windows_overdue",
                _OVERDUE,
                "SELECT count(*) FROM usage_window WHERE due_at IS NOT NULL",
            ),
            await run_check(
                connection, "corrections_stuck", _CORRECTIONS_STUCK, "SELECT count(*) FROM late_usage"
            ),
            await run_check(
                connection, "bindings_overlap", _BINDINGS_OVERLAP, "SELECT count(*) FROM subject_binding"
            ),
            *await common_checks(connection),
        )
        return AuditReport(
            service="metering",
            checks=checks,
            facts={
                **await count_facts(connection, _FACTS),
                "usage_records_waiting": await _count_waiting(connection, usage_ends),
                "tenants": await _tenant_facts(connection),
            },
        )


async def _count_waiting(connection: AsyncConnection, ends: Offsets | None) -> int | None:
    if ends is None:
        return None
    wanted = select(usage_offset.c.partition, usage_offset.c.next_offset).where(
        usage_offset.c.topic == USAGE_TOPIC
    )
    stored: dict[int, int] = {row.partition: row.next_offset for row in await connection.execute(wanted)}
    return sum(max(end - stored.get(partition, 0), 0) for partition, end in ends.items())


async def _check_totals(connection: AsyncConnection) -> AuditCheck:
    """The totals of closed windows are what a recount says, unless a correction is under way."""
    waiting = set((await connection.exec_driver_sql("SELECT DISTINCT window_id FROM late_usage")).scalars())
    checked_count = 0
    problems: list[str] = []
    last = ""
    while True:
        batch = (
            select(usage_window)
            .where(usage_window.c.state == "closed", usage_window.c.id > last)
            .order_by(usage_window.c.id)
            .limit(BATCH_MAX)
        )
        found = (await connection.execute(batch)).mappings().all()
        recounted: dict[str, _Counted] = defaultdict(dict)
        for row in await connection.exec_driver_sql(_RECOUNT, ([row["id"] for row in found],)):
            if row.event_count:
                recounted[row.window_id][row.item_id, row.price_id] = (row.quantity, row.event_count)
        for window in (row_mapping.window_from(row) for row in found):
            checked_count += 1
            said = {
                (total.item_id, total.price_id): (total.quantity, total.event_count)
                for total in window.totals
                if total.event_count
            }
            if window.id not in waiting and said != recounted[window.id]:
                problems.append(
                    f"window={window.id}, said={_shown(said)}, counted={_shown(recounted[window.id])}"
                )
        if len(found) < BATCH_MAX:
            return check_of("window_totals", checked_count=checked_count, problems=problems)
        last = found[-1]["id"]


def _shown(counted: _Counted) -> str:
    """What differs can be found by item: quantity/events of each."""
    return " ".join(
        f"{item_id}{f'@{price_id}' if price_id else ''}:{quantity}/{event_count}"
        for (item_id, price_id), (quantity, event_count) in sorted(
            counted.items(), key=lambda found: (found[0][0], found[0][1] or "")
        )
    )


async def _tenant_facts(connection: AsyncConnection) -> dict[str, dict[str, int]]:
    """How many identities and rejects each tenant has, to be compared with what senders were told."""
    facts: dict[str, dict[str, int]] = defaultdict(lambda: {"usage_keys": 0, "usage_rejects": 0})
    for name, table in (("usage_keys", "usage_key"), ("usage_rejects", "usage_reject")):
        statement = f"SELECT tenant::text, count(*) AS counted FROM {table} GROUP BY tenant"
        for row in await connection.exec_driver_sql(statement):
            facts[row.tenant][name] = row.counted
    return dict(facts)

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
from services.metering.adapters.reading_audit import EXCEPTIONS_WRONG, READINGS_WRONG
from services.metering.adapters.rows import usage_offset, usage_window
from services.metering.adapters.running_sums import (
    COLUMNS,
    IS_COMPARED,
    KEPT_BY_TENANT,
    OF_ALL,
    made_of,
    members_of,
)
from services.metering.adapters.usage_recount import recount
from services.metering.domain.usage_window import Offsets

BATCH_MAX = 500
OVERDUE_S = 60

# Every bucket of every meter made again from the events that count, in one pass over them; of each what its meter needs.
# Sums that were made before a meter needed less may hold more.
_BUCKETS_WRONG = f"""
    WITH {KEPT_BY_TENANT}, counted ({COLUMNS}) AS ({made_of(OF_ALL)}), kept AS (
        SELECT b.tenant, b.meter_id, b.subject, b.bucket_start, b.group_key, b.event_count,
               CASE WHEN m.aggregation IN ('sum', 'average', 'peak') OR m.options ->> 'level' = 'change' THEN b.total END
                   AS total,
               CASE WHEN m.aggregation = 'min' THEN b.minimum END AS minimum,
               CASE WHEN m.aggregation = 'max' THEN b.maximum END AS maximum,
               b.latest_at, b.latest_key, b.latest_value, b.first_at, b.area
        FROM usage_bucket b JOIN meter m ON m.tenant = b.tenant AND m.id = b.meter_id
        WHERE {IS_COMPARED.format(at="b.bucket_start")}
    )
    SELECT tenant, meter_id, subject, bucket_start, group_key, b.event_count, c.event_count AS counted_events,
           b.total, c.total AS counted_total, b.minimum, c.minimum AS counted_minimum, b.maximum,
           c.maximum AS counted_maximum, b.latest_value, c.latest_value AS counted_latest, b.area, c.area AS counted_area
    FROM kept b FULL JOIN counted c USING (tenant, meter_id, subject, bucket_start, group_key)
    WHERE (b.event_count, b.total, b.minimum, b.maximum, b.latest_at, b.latest_key, b.latest_value, b.first_at, b.area)
        IS DISTINCT FROM
          (c.event_count, c.total, c.minimum, c.maximum, c.latest_at, c.latest_key, c.latest_value, c.first_at, c.area)
"""
_MEMBERS_WRONG = f"""
    WITH {KEPT_BY_TENANT}, counted (tenant, meter_id, subject, bucket_start, group_key, member, last_at, last_key, is_in)
        AS ({members_of(OF_ALL)}),
    kept AS (
        SELECT b.* FROM usage_member b JOIN meter m ON m.tenant = b.tenant AND m.id = b.meter_id
        WHERE {IS_COMPARED.format(at="b.bucket_start")}
    )
    SELECT tenant, meter_id, subject, bucket_start, group_key, member, b.is_in, c.is_in AS counted_is_in
    FROM kept b FULL JOIN counted c USING (tenant, meter_id, subject, bucket_start, group_key, member)
    WHERE (b.last_at, b.last_key, b.is_in) IS DISTINCT FROM (c.last_at, c.last_key, c.is_in)
"""
# Keys and events are stored together: from when on raw events are kept, there are as many of each.
_KEYS_WRONG = """
    WITH horizon AS MATERIALIZED (
        SELECT tenant, usage_kept_from(tenant) AS kept_from FROM usage_retention
    ), everybody AS MATERIALIZED (SELECT max(kept_from) AS kept_from FROM usage_kept)
    SELECT tenant, k.keys, e.events
    FROM (
        SELECT tenant, count(*) AS keys FROM usage_key LEFT JOIN horizon h USING (tenant), everybody
        WHERE occurred_at >= coalesce(h.kept_from, everybody.kept_from, '-infinity') GROUP BY tenant
    ) k
    FULL JOIN (
        SELECT tenant, count(*) AS events FROM usage_event LEFT JOIN horizon h USING (tenant), everybody
        WHERE occurred_at >= coalesce(h.kept_from, everybody.kept_from, '-infinity') GROUP BY tenant
    ) e USING (tenant)
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
# What was said of them is no longer what is stored, and nothing can make it so: a person has to know.
_RECOUNTS_REFUSED = """
    SELECT tenant, id, window_start, window_end, recount_refusal ->> 'told' AS told FROM usage_window
    WHERE recount_refusal IS NOT NULL AND recount_refusal ->> 'dismissed_at' IS NULL
"""
_SEALS_STUCK = f"""
    SELECT n.tenant, n.window_id, n.due_at, n.attempts, n.last_error
    FROM usage_seal_note n LEFT JOIN known_clock c ON c.id = n.clock_id
    WHERE n.due_at < CASE WHEN n.clock_id IS NULL THEN clock_timestamp() ELSE c.now END - interval '{OVERDUE_S} s'
      AND n.attempts > 0
"""
# What is sealed of the newest totals of a window has their quantities and events.
_SEALS_WRONG = """
    SELECT d.tenant, d.window_id, d.item_id, d.price_id, d.quantity AS sealed, t.quantity, d.event_count AS sealed_events,
           t.event_count
    FROM usage_digest d
    JOIN usage_window w ON w.tenant = d.tenant AND w.id = d.window_id AND w.revision = d.revision
    JOIN LATERAL jsonb_to_recordset(w.totals)
        AS t(item_id text, price_id text, quantity numeric, event_count bigint)
        ON t.item_id = d.item_id AND t.price_id IS NOT DISTINCT FROM d.price_id
    WHERE (t.quantity, t.event_count) <> (d.quantity, d.event_count)
"""
# What senders can read of their batches is what is there. Batches whose results are no longer kept say nothing, nor do
# those of which raw events may be gone.
_BATCHES_WRONG = """
    SELECT b.tenant, b.batch_id, b.stored, coalesce(e.events, 0) AS events
    FROM (SELECT tenant, batch_id, sum(stored) AS stored FROM usage_batch GROUP BY 1, 2) b
    LEFT JOIN (
        SELECT tenant, batch_id, count(*) AS events
        FROM usage_event JOIN (SELECT DISTINCT tenant, batch_id FROM usage_batch) known USING (tenant, batch_id)
        GROUP BY 1, 2
    ) e USING (tenant, batch_id)
    WHERE b.stored <> coalesce(e.events, 0)
      AND NOT EXISTS (SELECT FROM usage_kept) AND NOT EXISTS (
          SELECT FROM usage_retention r WHERE r.tenant = b.tenant AND r.kept_from IS NOT NULL)
"""
# Two that overlap while one's release is on its way are said here too: the audit runs when all is at rest.
_BINDINGS_OVERLAP = """
    SELECT a.tenant, a.subject, a.meter, a.id, b.id AS other_id
    FROM subject_binding a JOIN subject_binding b
      ON b.tenant = a.tenant AND b.subject = a.subject AND b.meter = a.meter AND b.id > a.id
     AND greatest(a.bound_from, b.bound_from)
         < least(coalesce(a.bound_until, 'infinity'), coalesce(b.bound_until, 'infinity'))
"""
# Windows with corrections under way, and those that cannot be counted again from raw events: they begin before these are
# kept, or measure what was there before.
_NOT_COUNTED = """
    SELECT window_id FROM late_usage
    UNION
    SELECT w.id FROM usage_window w
    WHERE w.state = 'closed'
      AND (EXISTS (SELECT FROM usage_kept) OR EXISTS (SELECT FROM usage_retention r WHERE r.tenant = w.tenant))
      AND usage_kept_from(w.tenant) IS NOT NULL AND (w.window_start < usage_kept_from(w.tenant) OR EXISTS (
        SELECT FROM jsonb_array_elements(w.items) AS item
        JOIN meter m ON m.tenant = w.tenant AND m.code = item ->> 'meter'
        WHERE m.aggregation = 'time_weighted' OR m.options ->> 'keeps' = 'true'))
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
            await run_check(
                connection, "members_of_sums", _MEMBERS_WRONG, "SELECT count(*) FROM usage_member"
            ),
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
                connection,
                "recounts_refused",
                _RECOUNTS_REFUSED,
                "SELECT count(*) FROM usage_window WHERE recount_refusal IS NOT NULL",
            ),
            await run_check(connection, "seals_stuck", _SEALS_STUCK, "SELECT count(*) FROM usage_seal_note"),
            await run_check(
                connection, "seals_match_totals", _SEALS_WRONG, "SELECT count(*) FROM usage_digest"
            ),
            await run_check(
                connection, "bindings_overlap", _BINDINGS_OVERLAP, "SELECT count(*) FROM subject_binding"
            ),
            await run_check(
                connection, "readings", READINGS_WRONG, "SELECT count(*) FROM reading_consumption"
            ),
            await run_check(
                connection, "readings_held", EXCEPTIONS_WRONG, "SELECT count(*) FROM reading_exception"
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
    """The totals of closed windows are what a recount says, unless a correction is under way, or events are gone."""
    waiting = set((await connection.exec_driver_sql(_NOT_COUNTED)).scalars())
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
        recounted = await recount(connection, [row["id"] for row in found])
        for window in (row_mapping.window_from(row) for row in found):
            checked_count += 1
            said = {
                (total.item_id, total.price_id): (total.quantity, total.event_count)
                for total in window.totals
                if total.event_count or total.quantity
            }
            counted: _Counted = {
                key: (usage.quantity, usage.event_count)
                for key, usage in recounted.get(window.id, {}).items()
                if usage.event_count or usage.quantity
            }
            if window.id not in waiting and said != counted:
                problems.append(f"window={window.id}, said={_shown(said)}, counted={_shown(counted)}")
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

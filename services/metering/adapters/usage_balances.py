"""Balances of items: which are to be said again, what they are of, and what was said last.

They are noted with one statement a transaction, and only while they are not noted yet: whoever says them claims
their rows, so that a note that comes meanwhile waits, and is said the next time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import select

from libs.common.access.tenancy import APP
from libs.common.persistence.base import bulk_update, is_among, raw
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.adapters.usage_alerts import DUE_BY_ITEMS, DUE_BY_METERS
from services.metering.domain.aggregation import BucketSums, TouchedSubjects
from services.metering.domain.usage_balance import SAID_AT_MOST_EVERY, UsageBalance
from services.metering.domain.usage_window import UsageWindow

# `given` must give: id, due_at. One that was said a moment ago waits for its second to be over.
_NOTE = f"""
    INSERT INTO usage_balance AS b (tenant, id, due_at)
    SELECT $1::uuid, given.id, given.due_at FROM ({{given}}) AS given ORDER BY given.id
    ON CONFLICT (id) DO UPDATE SET
        due_at = greatest(excluded.due_at, b.said_at + interval '{SAID_AT_MOST_EVERY.total_seconds()} s')
    WHERE b.due_at IS NULL OR b.due_at > excluded.due_at
"""
# Those that may wait do so for one to ten times as long, so that thousands at once do not stand before one that may not.
_NOTE_ITEMS = _NOTE.format(
    given="""
        SELECT id, statement_timestamp() + after * (1 + 9 * random()) AS due_at
        FROM unnest($2::text[], $3::interval[]) AS u(id, after)
    """
)
_NOTE_METERS = _NOTE.format(
    given="SELECT id, statement_timestamp() AS due_at FROM metered_item WHERE meter = ANY($2::text[])"
)
_NOTE_SUBJECTS = _NOTE.format(
    given="""
        SELECT DISTINCT s.item_id AS id, statement_timestamp() AS due_at
        FROM unnest($2::text[], $3::text[]) AS u(meter, subject)
        JOIN subject_binding s ON s.subject = u.subject AND s.meter = u.meter
            AND s.bound_from < $5::timestamptz AND (s.bound_until IS NULL OR s.bound_until > $4::timestamptz)
    """
)
_UNDER_WAY = """
    SELECT i.id AS item_id, w.* FROM metered_item i CROSS JOIN LATERAL (
        SELECT w.* FROM usage_window w WHERE w.subscription_id = i.subscription_id
        ORDER BY w.period_index DESC LIMIT 1
    ) w
    WHERE i.id = ANY($1::text[]) AND w.state = 'open' AND w.due_at IS NULL
"""


class UsageBalances:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._noted: dict[str, timedelta] = {}
        self._meters: set[str] = set()
        self.touched: list[tuple[str, TouchedSubjects]] = []

    def note(self, item_ids: Iterable[str], *, after: timedelta = timedelta(0)) -> None:
        for id in item_ids:
            self._noted[id] = min(after, self._noted.get(id, after))

    def note_meter(self, code: str) -> None:
        self._meters.add(code)

    def note_usage(self, sums: BucketSums) -> None:
        self.touched.append((self._uow.tenant, sums.subjects()))

    def reset(self) -> None:
        self._noted, self._meters = {}, set()

    async def flush(self) -> None:
        if not (self._noted or self._meters):
            return
        driver, tenant = await raw(self._uow.connection), self._uow.tenant
        meters, self._meters = self._meters, set()
        if meters:
            await driver.execute(_NOTE_METERS, tenant, sorted(meters))
            await driver.execute(DUE_BY_METERS, sorted(meters))
        noted, self._noted = self._noted, {}
        if noted:
            await driver.execute(_NOTE_ITEMS, tenant, list(noted), list(noted.values()))
            await driver.execute(DUE_BY_ITEMS, list(noted))

    async def note_touched(self, touched: TouchedSubjects) -> None:
        """The items for which the subjects count in that time; usage of others is nobody's."""
        meters, subjects = zip(*touched.subjects, strict=True)
        driver = await raw(self._uow.connection)
        await driver.execute(
            _NOTE_SUBJECTS, self._uow.tenant, list(meters), list(subjects), touched.start, touched.end
        )

    async def load(self, item_ids: Sequence[str]) -> Sequence[UsageBalance]:
        table = rows.usage_balance
        found = await self._uow.connection.execute(select(table).where(is_among(table.c.id, item_ids)))
        return [
            UsageBalance(row["id"], row["version"], row["window_id"], row["quantity"], row["said_at"])
            for row in found.mappings()
        ]

    async def find_under_way(self, item_ids: Sequence[str]) -> Mapping[str, UsageWindow]:
        found = await (await raw(self._uow.connection)).fetch(_UNDER_WAY, list(item_ids))
        return {row["item_id"]: row_mapping.window_from(row) for row in found}

    async def settle(self, balances: Sequence[UsageBalance]) -> None:
        changed = [
            {
                "id": balance.item_id,
                "version": balance.version,
                "window_id": balance.window_id,
                "quantity": balance.quantity,
                "said_at": balance.said_at,
                "due_at": None,
                "attempts": 0,
                "retry_at": None,
                "last_error": None,
            }
            for balance in balances
        ]
        await bulk_update(self._uow.connection, rows.usage_balance, changed)


async def note_all(database: Database) -> None:
    """All balances, of all tenants: for a process that begins, and does not know what the last one left unsaid."""
    async with database.transaction(APP) as connection:
        await (await raw(connection)).execute("SELECT note_all_usage_balances()")

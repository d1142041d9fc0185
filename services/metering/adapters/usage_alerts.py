"""Usage alerts, which of them concern usage that was stored, and what has fired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, func, insert, select

from libs.common.access.tenancy import APP
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among, raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.application.ports import Watched
from services.metering.application.reads import AlertFilter
from services.metering.domain.aggregation import TouchedSubjects
from services.metering.domain.usage_alert import Firing, Mark, UsageAlert
from services.metering.domain.usage_window import UsageWindow

SECOND_LOOK = timedelta(seconds=2)

_WATCHED = """
    SELECT s.id, s.customer_id FROM metered_subscription s
    WHERE ($1::text IS NULL OR s.id = $1) AND EXISTS (
        SELECT FROM metered_item i
        WHERE i.subscription_id = s.id AND i.meter = $3 AND ($2::text IS NULL OR i.id = $2))
      AND s.id = coalesce($1, (SELECT i.subscription_id FROM metered_item i WHERE i.id = $2))
"""
_ANY = "SELECT EXISTS (SELECT FROM usage_alert)"
# By the bindings of the subjects: a subscription's alert concerns all its items on the meter.
_TOUCHED = """
    SELECT DISTINCT a.id
    FROM unnest($1::text[], $2::text[]) AS u(meter, subject)
    JOIN subject_binding s ON s.subject = u.subject AND s.meter = u.meter
        AND s.bound_from < $4::timestamptz AND (s.bound_until IS NULL OR s.bound_until > $3::timestamptz)
    JOIN usage_alert a ON a.subscription_id = s.subscription_id AND a.meter = s.meter
        AND (a.item_id IS NULL OR a.item_id = s.item_id)
"""
_UNDER_WAY = """
    SELECT w.* FROM unnest($1::text[]) AS s(id) CROSS JOIN LATERAL (
        SELECT w.* FROM usage_window w WHERE w.subscription_id = s.id ORDER BY w.period_index DESC LIMIT 1
    ) w
    WHERE w.state = 'open' AND w.due_at IS NULL
"""
_FIRED = """
    SELECT f.alert_id, f.window_id, f.place FROM unnest($1::text[], $2::text[]) AS g(alert_id, window_id)
    JOIN usage_alert_firing f ON f.alert_id = g.alert_id AND f.window_id = g.window_id
"""
_RECORD = """
    INSERT INTO usage_alert_firing
        (tenant, id, alert_id, window_id, place, item_id, period_index, threshold, percent, quantity, fired_at)
    SELECT $1::uuid, g.* FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::int[],
                                     $8::numeric[], $9::numeric[], $10::numeric[], $11::timestamptz[]) AS g
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""
# What was noted of items and meters: their alerts are looked at by the scheduler.
_DUE = """
    UPDATE usage_alert SET due_at = statement_timestamp() WHERE id IN (
        {found} AND (a.due_at IS NULL OR a.due_at > statement_timestamp())
        ORDER BY a.id FOR NO KEY UPDATE OF a)
"""
DUE_BY_ITEMS = _DUE.format(
    found="""
        SELECT a.id FROM metered_item i JOIN usage_alert a ON a.subscription_id = i.subscription_id
        WHERE i.id = ANY($1::text[]) AND (a.item_id IS NULL OR a.item_id = i.id)
    """
)
DUE_BY_METERS = _DUE.format(found="SELECT a.id FROM usage_alert a WHERE a.meter = ANY($1::text[])")

_DUE_BY_IDS = _DUE.format(found="SELECT a.id FROM usage_alert a WHERE a.id = ANY($1::text[])")


class UsageAlerts:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def any(self) -> bool:
        found: bool = await (await raw(self._uow.connection)).fetchval(_ANY)
        return found

    async def find_watched(
        self, *, subscription_id: str | None, item_id: str | None, meter: str
    ) -> Watched | None:
        driver = await raw(self._uow.connection)
        row = await driver.fetchrow(_WATCHED, subscription_id, item_id, meter)
        return None if row is None else Watched(row["id"], row["customer_id"])

    async def add(self, alert: UsageAlert) -> None:
        """It is looked at once more soon: a window may be opening that is not seen yet."""
        soon = func.statement_timestamp() + SECOND_LOOK
        row = {"tenant": self._uow.tenant, **row_mapping.alert_row(alert), "due_at": soon}
        await self._uow.connection.execute(insert(rows.usage_alert).values(**row))

    async def count(self, subscription_id: str) -> int:
        table = rows.usage_alert
        counted = select(func.count()).select_from(table).where(table.c.subscription_id == subscription_id)
        return int((await self._uow.connection.execute(counted)).scalar_one())

    async def find(self, alert_id: str, *, for_update: bool = False) -> UsageAlert | None:
        wanted = select(rows.usage_alert).where(rows.usage_alert.c.id == alert_id)
        if for_update:
            wanted = wanted.with_for_update()
        row = (await self._uow.connection.execute(wanted)).mappings().first()
        return None if row is None else row_mapping.alert_from(row)

    async def remove(self, alert_id: str) -> None:
        firing, alert = rows.usage_alert_firing, rows.usage_alert
        await self._uow.connection.execute(delete(firing).where(firing.c.alert_id == alert_id))
        await self._uow.connection.execute(delete(alert).where(alert.c.id == alert_id))

    async def load(self, ids: Sequence[str]) -> Sequence[UsageAlert]:
        table = rows.usage_alert
        found = await self._uow.connection.execute(
            select(table).where(is_among(table.c.id, ids)).order_by(table.c.id)
        )
        return [row_mapping.alert_from(row) for row in found.mappings()]

    async def find_touched(self, touched: TouchedSubjects) -> Sequence[str]:
        meters, subjects = zip(*touched.subjects, strict=True)
        driver = await raw(self._uow.connection)
        found = await driver.fetch(_TOUCHED, list(meters), list(subjects), touched.start, touched.end)
        return sorted(row["id"] for row in found)

    async def note(self, alert_ids: Sequence[str]) -> None:
        """The scheduler looks at these."""
        if alert_ids:
            await (await raw(self._uow.connection)).execute(_DUE_BY_IDS, list(alert_ids))

    async def find_under_way(self, subscription_ids: Sequence[str]) -> Mapping[str, UsageWindow]:
        found = await (await raw(self._uow.connection)).fetch(_UNDER_WAY, list(subscription_ids))
        return {row["subscription_id"]: row_mapping.window_from(row) for row in found}

    async def find_fired(
        self, wanted: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], AbstractSet[int]]:
        fired: dict[tuple[str, str], set[int]] = {}
        alerts, windows = [alert for alert, _ in wanted], [window for _, window in wanted]
        for row in await (await raw(self._uow.connection)).fetch(_FIRED, alerts, windows):
            fired.setdefault((row["alert_id"], row["window_id"]), set()).add(row["place"])
        return fired

    async def record_firings(self, firings: Sequence[Firing]) -> AbstractSet[str]:
        """Sorted: two who find the same wait for each other in one order."""
        if not firings:
            return frozenset()
        given = sorted(firings, key=lambda firing: firing.id)
        columns: list[list[Any]] = [
            [f.id for f in given],
            [f.alert_id for f in given],
            [f.window_id for f in given],
            [f.place for f in given],
            [f.item_id for f in given],
            [f.period_index for f in given],
            [f.mark.threshold for f in given],
            [f.mark.percent for f in given],
            [f.quantity for f in given],
            [f.fired_at for f in given],
        ]
        made = await (await raw(self._uow.connection)).fetch(_RECORD, self._uow.tenant, *columns)
        return {row["id"] for row in made}

    async def settle(self, alert_ids: Sequence[str]) -> None:
        table = rows.usage_alert
        await self._uow.connection.execute(
            table.update()
            .where(is_among(table.c.id, alert_ids))
            .values(due_at=None, attempts=0, retry_at=None, last_error=None)
        )

    async def list_alerts(self, wanted: AlertFilter, page: PageRequest) -> Slice[UsageAlert]:
        table = rows.usage_alert
        given = {
            "subscription_id": wanted.subscription_id,
            "customer_id": wanted.customer_id,
            "item_id": wanted.item_id,
            "meter": wanted.meter,
        }
        chosen = select(table).where(
            *(table.c[name] == value for name, value in given.items() if value is not None)
        )
        return await fetch_page(
            self._uow.connection,
            chosen,
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=row_mapping.alert_from,
        )

    async def list_firings(self, alert_id: str, page: PageRequest) -> Slice[Firing]:
        table = rows.usage_alert_firing
        return await fetch_page(
            self._uow.connection,
            select(table).where(table.c.alert_id == alert_id),
            created_at=table.c.fired_at,
            id=table.c.id,
            page=page,
            to_view=_firing_from,
        )


def _firing_from(row: Mapping[Any, Any]) -> Firing:
    return Firing(
        id=row["id"],
        alert_id=row["alert_id"],
        window_id=row["window_id"],
        place=row["place"],
        item_id=row["item_id"],
        period_index=row["period_index"],
        mark=Mark(Decimal(row["threshold"]), row["percent"]),
        quantity=row["quantity"],
        fired_at=row["fired_at"],
    )


async def look_at_all(database: Database) -> None:
    """All alerts, of all tenants: for a process that begins, and does not know what the last one left untold."""
    async with database.transaction(APP) as connection:
        await (await raw(connection)).execute("SELECT note_all_usage_alerts()")

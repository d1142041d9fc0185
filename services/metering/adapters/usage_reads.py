"""What screens ask: lists in cursor pages, and sums of usage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Select, Table, exists, func, select

from libs.common.paging import PageRequest, Position, Slice
from libs.common.persistence.base import raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.adapters.usage_offsets import USAGE_GROUP
from services.metering.adapters.usage_sums import sum_usage
from services.metering.application.reads import (
    SETTLED_AS,
    BatchResult,
    ConflictView,
    CountedEvent,
    EventFilter,
    NotStored,
    NotStoredView,
    Reject,
    RejectView,
    StoredEvent,
    UsageConflict,
    UsageRow,
    WindowFilter,
)
from services.metering.domain.meter import Meter
from services.metering.domain.metered_item import Span
from services.metering.domain.usage_event import event_key
from services.metering.domain.usage_window import UsageWindow

V = TypeVar("V")

_EVENT = (
    "e.occurred_at, e.key, e.arrived_at, e.type, e.source, e.event_id, e.subject, e.data::text AS data_json"
)

_EVENTS_OF_ITEM = f"""
    WITH span AS MATERIALIZED (
        SELECT b.subject, m.event_type, m.value_path, m.filters,
               greatest(w.starts, b.bound_from) AS starts, least(w.ends, b.bound_until) AS ends
        FROM unnest($1::timestamptz[], $2::timestamptz[]) AS w(starts, ends)
        JOIN subject_binding b ON b.bound_from < w.ends AND (b.bound_until IS NULL OR b.bound_until > w.starts)
        JOIN meter m ON m.code = b.meter
        WHERE b.item_id = $3 AND b.meter = $4
    )
    SELECT f.* FROM span s CROSS JOIN LATERAL (
        SELECT {_EVENT}, usage_value(e.data, s.value_path) AS value
        FROM usage_event e
        WHERE e.subject = s.subject AND e.type = s.event_type
          AND e.occurred_at >= greatest(s.starts, $5::timestamptz) AND e.occurred_at < s.ends
          AND (e.occurred_at, e.key) > ($5::timestamptz, $6::uuid)
          AND usage_matches(e.data, s.filters)
          AND (s.value_path IS NULL OR usage_value(e.data, s.value_path) IS NOT NULL)
        ORDER BY e.occurred_at, e.key LIMIT $7
    ) f ORDER BY f.occurred_at, f.key LIMIT $7
"""
_FIRST_KEY = UUID(int=0)


class UsageReads:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def list_meters(
        self, page: PageRequest, *, code: str | None, event_type: str | None
    ) -> Slice[Meter]:
        wanted = _narrowed(rows.meter, code=code, event_type=event_type)
        return await self._page(wanted, rows.meter, "created_at", page, row_mapping.meter_from)

    async def find_meter(self, meter_id: str) -> Meter | None:
        return await self._find(_narrowed(rows.meter, id=meter_id), row_mapping.meter_from)

    async def find_meter_by_code(self, code: str) -> Meter | None:
        return await self._find(_narrowed(rows.meter, code=code), row_mapping.meter_from)

    async def list_rejects(self, page: PageRequest, *, source: str | None) -> Slice[RejectView]:
        table = rows.usage_reject
        return await self._page(_narrowed(table, source=source), table, "first_seen_at", page, _reject_from)

    async def list_conflicts(self, page: PageRequest, *, source: str | None) -> Slice[ConflictView]:
        table, key = rows.usage_conflict, rows.usage_key
        wanted = (
            select(table, key.c.occurred_at.label("stored_occurred_at"))
            .outerjoin(key, key.c.key == table.c.key)
            .where(*_equal(table, source=source))
        )
        return await self._page(wanted, table, "first_seen_at", page, _conflict_from)

    async def find_batch(self, batch_id: str) -> BatchResult | None:
        part = rows.usage_batch.c
        counts = [func.sum(part[status]).label(status) for status in SETTLED_AS]
        wanted = select(
            func.max(part.batch_event_count).label("event_count"),
            func.min(part.arrived_at).label("arrived_at"),
            *counts,
        ).where(part.batch_id == batch_id)
        row = (await self._uow.connection.execute(wanted)).mappings().one()
        if row["event_count"] is None:
            return None
        counted = {status: int(row[status]) for status in SETTLED_AS}
        return BatchResult(batch_id, row["event_count"], counted, row["arrived_at"])

    async def has_failing_part(self, batch_id: str) -> bool:
        failure = self._uow.machinery.message_failure.c
        failing = select(
            exists().where(
                failure.handler == USAGE_GROUP,
                failure.tenant == self._uow.tenant,
                failure.message_id.startswith(f"{batch_id}/"),
            )
        )
        return bool((await self._uow.connection.execute(failing)).scalar_one())

    async def list_not_stored(self, page: PageRequest, *, batch_id: str | None) -> Slice[NotStoredView]:
        table = rows.usage_result
        return await self._page(
            _narrowed(table, batch_id=batch_id), table, "settled_at", page, _not_stored_from
        )

    async def list_windows(self, wanted: WindowFilter, page: PageRequest) -> Slice[UsageWindow]:
        table = rows.usage_window
        chosen = _narrowed(
            table,
            subscription_id=wanted.subscription_id,
            customer_id=wanted.customer_id,
            state=wanted.state,
        )
        return await self._page(chosen, table, "created_at", page, row_mapping.window_from)

    async def find_window(self, window_id: str) -> UsageWindow | None:
        return await self._find(_narrowed(rows.usage_window, id=window_id), row_mapping.window_from)

    async def find_items(
        self, *, item_id: str | None, subscription_id: str | None, customer_id: str | None, of: str | None
    ) -> Sequence[str] | None:
        item, subscription = rows.metered_item, rows.metered_subscription
        wanted = (
            select(item.c.id)
            .select_from(subscription.outerjoin(item, item.c.subscription_id == subscription.c.id))
            .where(
                *_equal(item, id=item_id), *_equal(subscription, id=subscription_id, customer_id=customer_id)
            )
            .where(*_equal(subscription, customer_id=of))
            .order_by(item.c.id)
        )
        found = list((await self._uow.connection.execute(wanted)).scalars())
        return [id for id in found if id is not None] if found else None

    async def sum_usage(
        self,
        meter: Meter,
        bounds: Sequence[datetime],
        *,
        subject: str | None,
        item_ids: Sequence[str] | None,
        dimensions: Sequence[int],
        rows_max: int,
    ) -> Sequence[UsageRow]:
        return await sum_usage(
            self._uow.connection,
            meter,
            bounds,
            subject=subject,
            item_ids=item_ids,
            dimensions=dimensions,
            rows_max=rows_max,
        )

    async def list_events(self, wanted: EventFilter, page: PageRequest) -> Slice[StoredEvent]:
        """By the primary key (tenant, occurred_at, key); the one event of an id is found by its key."""
        given: list[Any] = []
        conditions: list[str] = []

        def need(condition: str, *values: Any) -> None:
            places = [f"${len(given) + number}" for number in range(1, len(values) + 1)]
            given.extend(values)
            conditions.append(condition.format(*places))

        if wanted.event_id is not None and wanted.source is not None:
            key = UUID(bytes=event_key(self._uow.tenant, wanted.source, wanted.event_id))
            need(
                "e.key = {0}::uuid AND e.occurred_at = (SELECT k.occurred_at FROM usage_key k WHERE k.key = {0}::uuid)",
                key,
            )
        for column, value in (("type", wanted.type), ("subject", wanted.subject), ("source", wanted.source)):
            if value is not None:
                need(f"e.{column} = {{0}}", value)
        if wanted.start is not None:
            need("e.occurred_at >= {0}", wanted.start)
        if wanted.end is not None:
            need("e.occurred_at < {0}", wanted.end)
        if page.created_from is not None:
            need("e.arrived_at >= {0}", page.created_from)
        if page.created_to is not None:
            need("e.arrived_at < {0}", page.created_to)
        if page.after is not None:
            need("(e.occurred_at, e.key) > ({0}, {1}::uuid)", page.after.created_at, UUID(page.after.id))
        where = " AND ".join(conditions) or "true"
        statement = (
            f"SELECT {_EVENT} FROM usage_event e WHERE {where} ORDER BY e.occurred_at, e.key "
            f"LIMIT {page.limit + 1}"
        )
        found = await (await raw(self._uow.connection)).fetch(statement, *given)
        return Slice(items=tuple(_event_from(row) for row in found[: page.limit]), next=_next(found, page))

    async def list_window_events(
        self, item_id: str, meter: str, spans: Sequence[Span], page: PageRequest
    ) -> Slice[CountedEvent]:
        after = page.after
        found = await (await raw(self._uow.connection)).fetch(
            _EVENTS_OF_ITEM,
            [span.start for span in spans],
            [span.end for span in spans],
            item_id,
            meter,
            after.created_at if after else min(span.start for span in spans),
            UUID(after.id) if after else _FIRST_KEY,
            page.limit + 1,
        )
        counted = tuple(CountedEvent(_event_from(row), row["value"]) for row in found[: page.limit])
        return Slice(items=counted, next=_next(found, page))

    async def _find(self, wanted: Select[Any], to_view: Callable[[RowMapping], V]) -> V | None:
        row = (await self._uow.connection.execute(wanted)).mappings().first()
        return None if row is None else to_view(row)

    async def _page(
        self,
        wanted: Select[Any],
        table: Table,
        created_at: str,
        page: PageRequest,
        to_view: Callable[[RowMapping], V],
    ) -> Slice[V]:
        return await fetch_page(
            self._uow.connection,
            wanted,
            created_at=table.c[created_at],
            id=table.c.id,
            page=page,
            to_view=to_view,
        )


def _equal(table: Table, **wanted: str | None) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def _narrowed(table: Table, **wanted: str | None) -> Select[Any]:
    return select(table).where(*_equal(table, **wanted))


def _next(found: Sequence[Any], page: PageRequest) -> Position | None:
    if len(found) <= page.limit:
        return None
    last = found[page.limit - 1]
    return Position(last["occurred_at"], str(last["key"]))


def _event_from(row: Any) -> StoredEvent:
    return StoredEvent(
        event_id=row["event_id"],
        source=row["source"],
        type=row["type"],
        subject=row["subject"],
        occurred_at=row["occurred_at"],
        arrived_at=row["arrived_at"],
        data_json=row["data_json"],
    )


def _reject_from(row: RowMapping) -> RejectView:
    reject = Reject(
        id=row["id"],
        event_id=row["event_id"],
        source=row["source"],
        type=row["type"],
        subject=row["subject"],
        payload=row["payload"],
        reasons=row_mapping.reasons_from(row["reasons"]),
        seen_at=row["last_seen_at"],
    )
    return RejectView(reject, row["first_seen_at"], row["last_seen_at"], row["seen_count"])


def _conflict_from(row: RowMapping) -> ConflictView:
    conflict = UsageConflict(
        id=row["id"],
        key=UUID(row["key"]).bytes,
        first_digest=UUID(row["first_digest"]).bytes,
        other_digest=UUID(row["other_digest"]).bytes,
        event_id=row["event_id"],
        source=row["source"],
        payload=row["payload"],
        seen_at=row["last_seen_at"],
    )
    return ConflictView(
        conflict,
        row["stored_occurred_at"],
        row["first_seen_at"],
        row["last_seen_at"],
        row["seen_count"],
    )


def _not_stored_from(row: RowMapping) -> NotStoredView:
    not_stored = NotStored(
        batch_id=row["batch_id"],
        place=row["place"],
        status=row["status"],
        event_id=row["event_id"],
        source=row["source"],
        reasons=row_mapping.reasons_from(row["reasons"]),
    )
    return NotStoredView(not_stored, row["settled_at"])

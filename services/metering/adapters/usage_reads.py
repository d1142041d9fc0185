"""What screens ask: lists in cursor pages, and sums of usage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Select, Table, exists, func, select

from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.paging import PageRequest, Position, Slice
from libs.common.persistence.base import raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.adapters.measured_events import list_measured_events
from services.metering.adapters.usage_offsets import USAGE_GROUP
from services.metering.adapters.usage_sums import sum_usage
from services.metering.application.reads import (
    SETTLED_AS,
    AnswerPosition,
    BatchResult,
    BoundTo,
    ConflictView,
    CorrectionFilter,
    CorrectionMark,
    EventFilter,
    MeasuredEvent,
    NotStored,
    NotStoredView,
    RejectState,
    RejectView,
    StoredEvent,
    UsageConflict,
    UsageRow,
    Whose,
    WindowCorrectionFilter,
    WindowFilter,
)
from services.metering.domain.group_filter import GroupFilter
from services.metering.domain.late_usage import WindowCorrection
from services.metering.domain.meter import Meter
from services.metering.domain.subject_binding import SubjectBinding
from services.metering.domain.usage_correction import UsageCorrection
from services.metering.domain.usage_event import event_key
from services.metering.domain.usage_window import UsageWindow

V = TypeVar("V")

_EVENT = (
    "e.occurred_at, e.key, e.arrived_at, e.type, e.source, e.event_id, e.subject, e.data::text AS data_json"
)

_POSITION = """
    SELECT transaction_timestamp() AS as_of, pg_current_snapshot()::text AS snapshot,
           ARRAY(SELECT partition FROM usage_offset WHERE topic = $1 ORDER BY partition) AS partitions,
           ARRAY(SELECT next_offset FROM usage_offset WHERE topic = $1 ORDER BY partition) AS offsets
"""
# What was sent first under an id, and what it was amended to.
_OF_IDENTITY = """(e.occurred_at, e.key) IN (
    SELECT k.occurred_at, k.key FROM usage_key k WHERE k.key = {0}::uuid
    UNION ALL
    SELECT a.replacement_occurred_at, a.replacement_key FROM usage_correction a
    WHERE a.identity = {0}::uuid AND a.replacement_key IS NOT NULL)
"""
_LIST_EVENTS = f"""
    SELECT {_EVENT}, c.id AS corrected_by, c.kind, c.reason, c.author, c.corrected_at, a.id AS amends
    FROM usage_event e
    LEFT JOIN usage_correction c ON c.key = e.key
    LEFT JOIN usage_correction a ON a.replacement_key = e.key
    WHERE {{where}} ORDER BY e.occurred_at, e.key LIMIT {{limit}}
"""


class UsageReads:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def list_meters(
        self, page: PageRequest, *, code: str | None, event_type: str | None
    ) -> Slice[Meter]:
        wanted = _narrowed(rows.meter, code=code, event_type=event_type)
        newest = wanted.where(rows.meter.c.valid_until.is_(None))
        return await self._page(newest, rows.meter, "created_at", page, row_mapping.meter_from)

    async def list_rejects(
        self, page: PageRequest, *, source: str | None, state: RejectState | None
    ) -> Slice[RejectView]:
        table = rows.usage_reject
        wanted = _narrowed(table, source=source)
        match state:
            case "open":
                wanted = wanted.where(table.c.resolution.is_(None))
            case "dismissed":
                wanted = wanted.where(table.c.resolution == "dismissed")
            case "resolved":
                wanted = wanted.where(table.c.resolution.in_(("stored", "duplicate")))
        return await self._page(wanted, table, "first_seen_at", page, row_mapping.reject_from)

    async def list_conflicts(self, page: PageRequest, *, source: str | None) -> Slice[ConflictView]:
        table, key = rows.usage_conflict, rows.usage_key
        wanted = (
            select(table, key.c.occurred_at.label("stored_occurred_at"))
            .outerjoin(key, key.c.key == table.c.key)
            .where(*_equal(table, source=source))
        )
        return await self._page(wanted, table, "first_seen_at", page, _conflict_from)

    async def list_corrections(self, wanted: CorrectionFilter, page: PageRequest) -> Slice[UsageCorrection]:
        table = rows.usage_correction
        chosen = _narrowed(table, source=wanted.source, event_id=wanted.event_id, kind=wanted.kind)
        return await self._page(chosen, table, "corrected_at", page, row_mapping.correction_from)

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
        if wanted.item_id is not None:
            item = rows.metered_item.c
            chosen = chosen.where(
                table.c.subscription_id
                == select(item.subscription_id).where(item.id == wanted.item_id).scalar_subquery()
            )
        return await self._page(chosen, table, "created_at", page, row_mapping.window_from)

    async def list_bindings_of_item(self, wanted: BoundTo, page: PageRequest) -> Slice[SubjectBinding]:
        table = rows.subject_binding
        until = table.c.bound_until
        chosen = _narrowed(table, item_id=wanted.item_id, meter=wanted.meter).where(
            table.c.bound_from < wanted.end,
            until.is_(None) | ((until > wanted.start) & (until > table.c.bound_from)),
        )
        return await self._page(chosen, table, "bound_from", page, row_mapping.binding_from)

    async def find_window(self, window_id: str) -> UsageWindow | None:
        return await self._find(_narrowed(rows.usage_window, id=window_id), row_mapping.window_from)

    async def list_window_corrections(
        self, wanted: WindowCorrectionFilter, page: PageRequest
    ) -> Slice[WindowCorrection]:
        table = rows.usage_window_correction
        chosen = _narrowed(
            table,
            window_id=wanted.window_id,
            subscription_id=wanted.subscription_id,
            customer_id=wanted.customer_id,
        )
        if wanted.is_billable is not None:
            chosen = chosen.where(table.c.is_billable.is_(wanted.is_billable))
        return await self._page(chosen, table, "created_at", page, row_mapping.window_correction_from)

    async def list_meter_versions(self, code: str) -> Sequence[Meter]:
        wanted = _narrowed(rows.meter, code=code).order_by(rows.meter.c.version)
        found = await self._uow.connection.execute(wanted)
        return [row_mapping.meter_from(row) for row in found.mappings()]

    async def position(self) -> AnswerPosition:
        """As of the transaction's begin, which comes before its snapshot: what was committed by then is seen."""
        [row] = await (await raw(self._uow.connection)).fetch(_POSITION, USAGE_TOPIC)
        offsets = zip(row["partitions"], row["offsets"], strict=True)
        return AnswerPosition(row["as_of"], row["snapshot"], dict(offsets))

    async def latest_clock(self, item_ids: Sequence[str] | None) -> datetime | None:
        item, subscription = rows.metered_item.c, rows.metered_subscription.c
        clock = self._uow.machinery.known_clock.c
        wanted = (
            select(func.max(clock.now))
            .join(rows.metered_subscription, subscription.clock_id == clock.id)
            .join(rows.metered_item, item.subscription_id == subscription.id)
        )
        if item_ids is not None:
            wanted = wanted.where(item.id.in_(item_ids))
        found: datetime | None = (await self._uow.connection.execute(wanted)).scalar_one()
        return found

    async def find_items(
        self,
        *,
        item_id: str | None,
        subscription_id: str | None,
        customer_id: str | None,
        asset_id: str | None = None,
        of: str | None,
    ) -> Sequence[str] | None:
        item, subscription, binding = rows.metered_item, rows.metered_subscription, rows.subject_binding
        wanted = (
            select(item.c.id)
            .select_from(subscription.outerjoin(item, item.c.subscription_id == subscription.c.id))
            .where(
                *_equal(item, id=item_id), *_equal(subscription, id=subscription_id, customer_id=customer_id)
            )
            .where(*_equal(subscription, customer_id=of))
            .order_by(item.c.id)
        )
        if asset_id is not None:
            wanted = wanted.where(
                exists().where(binding.c.item_id == item.c.id, binding.c.asset_id == asset_id)
            )
        found = list((await self._uow.connection.execute(wanted)).scalars())
        return [id for id in found if id is not None] if found else None

    async def sum_usage(
        self,
        versions: Sequence[Meter],
        bounds: Sequence[datetime],
        *,
        subject: str | None,
        item_ids: Sequence[str] | None,
        asset_id: str | None,
        dimensions: Sequence[str],
        filters: GroupFilter,
        zone: str,
        until: datetime,
        rows_max: int,
    ) -> Sequence[UsageRow]:
        return await sum_usage(
            self._uow.connection,
            versions,
            bounds,
            subject=subject,
            item_ids=item_ids,
            asset_id=asset_id,
            dimensions=dimensions,
            filters=filters,
            zone=zone,
            until=until,
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
            need(_OF_IDENTITY, key)
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
        statement = _LIST_EVENTS.format(where=where, limit=page.limit + 1)
        found = await (await raw(self._uow.connection)).fetch(statement, *given)
        listed = tuple(_marked_event_from(row) for row in found[: page.limit])
        return Slice(items=listed, next=_next(found, page))

    async def list_measured_events(
        self, versions: Sequence[Meter], whose: Whose, page: PageRequest
    ) -> Slice[MeasuredEvent]:
        return await list_measured_events(self._uow.connection, versions, whose, page)

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


def _marked_event_from(row: Any) -> StoredEvent:
    mark = None
    if row["corrected_by"] is not None:
        mark = CorrectionMark(
            row["corrected_by"], row["kind"], row["reason"], row["author"], row["corrected_at"]
        )
    return replace(_event_from(row), corrected=mark, amends=row["amends"])


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

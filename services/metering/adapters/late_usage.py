"""Notes that windows must be counted again, found and written with one statement for each kind of change.

Notes are only ever added, each under an id of its own: whoever stores usage waits for nobody who counts. They
are due at once, by their window's clock, since the window had ended before it could be said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select

from libs.common.persistence.base import raw
from libs.common.persistence.unit_of_work import UnitOfWork
from libs.common.telemetry import current_traceparent
from services.metering.adapters import rows
from services.metering.application.ports import LateNote
from services.metering.domain.aggregation import TouchedBucket
from services.metering.domain.subject_binding import BindingChange

_INSERT = """
    INSERT INTO late_usage (id, tenant, window_id, due_at, clock_id, traceparent)
    SELECT 'late_' || replace(gen_random_uuid()::text, '-', ''), w.tenant, w.id, w.window_end, w.clock_id, $1
    FROM usage_window w WHERE w.state <> 'open' AND
"""
_BY_USAGE = f"""{_INSERT} w.id IN (
        SELECT found.id FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
            AS touched(meter, subject, starts, ends)
        JOIN subject_binding b ON b.subject = touched.subject AND b.meter = touched.meter
            AND b.bound_from < touched.ends AND (b.bound_until IS NULL OR b.bound_until > touched.starts)
        JOIN usage_window found ON found.subscription_id = b.subscription_id AND found.state <> 'open'
            AND found.window_start < touched.ends AND found.window_end > touched.starts)
"""
_BY_BINDING = f"""{_INSERT} w.id IN (
        SELECT found.id FROM unnest($2::text[], $3::timestamptz[], $4::timestamptz[])
            AS changed(subscription_id, starts, ends)
        JOIN usage_window found ON found.subscription_id = changed.subscription_id AND found.state <> 'open'
            AND (changed.ends IS NULL OR found.window_start < changed.ends)
            AND found.window_end > changed.starts)
"""
_BY_METER = f"{_INSERT} w.items @> jsonb_build_array(jsonb_build_object('meter', $2::text))"
_BY_ID = f"{_INSERT} w.id = ANY($2::text[])"


class LateUsageNotes:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._touched: list[TouchedBucket] = []
        self._changes: list[BindingChange] = []
        self._meters: list[str] = []
        self._windows: list[str] = []

    def note_usage(self, touched: Iterable[TouchedBucket]) -> None:
        self._touched += touched

    def note_binding(self, changes: Iterable[BindingChange]) -> None:
        self._changes += changes

    def note_meter(self, code: str) -> None:
        self._meters.append(code)

    def note_window(self, window_id: str) -> None:
        self._windows.append(window_id)

    def reset(self) -> None:
        self._touched, self._changes, self._meters, self._windows = [], [], [], []

    async def flush(self) -> None:
        """Runs after what is noted has been written: registered last."""
        if not (self._touched or self._changes or self._meters or self._windows):
            return
        driver, trace = await raw(self._uow.connection), current_traceparent()
        touched, self._touched = self._touched, []
        if touched:
            await driver.execute(_BY_USAGE, trace, *(list(column) for column in zip(*touched, strict=True)))
        changes, self._changes = self._changes, []
        if changes:
            subscriptions = [change.subscription_id for change in changes]
            starts, ends = [change.start for change in changes], [change.end for change in changes]
            await driver.execute(_BY_BINDING, trace, subscriptions, starts, ends)
        meters, self._meters = self._meters, []
        for code in meters:
            await driver.execute(_BY_METER, trace, code)
        windows, self._windows = self._windows, []
        if windows:
            await driver.execute(_BY_ID, trace, windows)

    async def load(self, ids: Sequence[str]) -> Sequence[LateNote]:
        table = rows.late_usage
        found = select(table.c.id, table.c.window_id).where(table.c.id.in_(ids)).order_by(table.c.id)
        return [LateNote(row.id, row.window_id) for row in await self._uow.connection.execute(found)]

    async def remove(self, ids: Sequence[str]) -> None:
        await self._uow.connection.execute(delete(rows.late_usage).where(rows.late_usage.c.id.in_(ids)))

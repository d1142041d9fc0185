"""Readings of counters, what is to be looked at of them, and what was made of them: all in bulk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, bulk_update, is_among, raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import rows
from services.metering.adapters.row_mapping import meter_from, true_up_from, true_up_json
from services.metering.adapters.usage_months import FIRST
from services.metering.application.reading_ports import (
    ExceptionFilter,
    KnownReadings,
    MadeConsumption,
    MeterPoint,
    MissingReading,
    ReadingFilter,
    Stretch,
    UsedAround,
)
from services.metering.domain.consumption import Consumption, opening
from services.metering.domain.estimate import PeriodUsed
from services.metering.domain.meter import Meter
from services.metering.domain.reading import Reading
from services.metering.domain.reading_exception import ReadingException
from services.metering.domain.usage_event import MICROSECOND, month_of
from services.metering.domain.usage_window import UsageWindow

_IS_ESTIMATE = "(r.quality = 'estimated' AND r.kind IN ('regular', 'wrap'))"
# From the last settled reading before a stretch to the first after it. What is kept aside after it is looked at as well.
_AROUND = f"""
    WITH wanted AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
            AS w(meter, subject, first_at, last_at)
    ), bound AS MATERIALIZED (
        SELECT w.*,
            (SELECT max(r.read_at) FROM meter_reading r WHERE r.meter = w.meter AND r.subject = w.subject
                AND r.read_at < w.first_at AND r.state = 'accepted' AND NOT {_IS_ESTIMATE}) AS start_at,
            (SELECT max(r.read_at) FROM meter_reading r WHERE r.meter = w.meter AND r.subject = w.subject
                AND r.read_at > w.last_at AND r.state = 'held') AS held_at
        FROM wanted w
    ), ended AS MATERIALIZED (
        SELECT b.*,
            (SELECT min(r.read_at) FROM meter_reading r WHERE r.meter = b.meter AND r.subject = b.subject
                AND r.read_at > greatest(b.last_at, b.held_at) AND r.state = 'accepted' AND NOT {_IS_ESTIMATE}
            ) AS end_at,
            (SELECT r.device FROM meter_reading r WHERE r.meter = b.meter AND r.subject = b.subject
                AND r.read_at <= b.start_at AND r.state = 'accepted' AND r.device IS NOT NULL
                AND NOT {_IS_ESTIMATE} ORDER BY r.read_at DESC, r.kind <> 'regular' DESC LIMIT 1) AS start_device,
            (SELECT r.register_digits FROM meter_reading r WHERE r.meter = b.meter AND r.subject = b.subject
                AND r.read_at <= b.start_at AND r.state = 'accepted'
                AND (r.register_digits IS NOT NULL OR r.kind = 'exchange') AND NOT {_IS_ESTIMATE}
                ORDER BY r.read_at DESC, r.kind <> 'regular' DESC LIMIT 1) AS start_digits
        FROM bound b
    )
    SELECT e.start_at, e.start_device, e.start_digits, r.*
    FROM ended e CROSS JOIN LATERAL (
        SELECT * FROM meter_reading r WHERE r.meter = e.meter AND r.subject = e.subject
            AND r.state IN ('accepted', 'held')
            AND r.read_at >= coalesce(e.start_at, '-infinity') AND r.read_at <= coalesce(e.end_at, 'infinity')
        OFFSET 0
    ) r
"""
_VOID_MADE = "UPDATE reading_consumption SET voided_at = $2 WHERE id = ANY($1::text[])"
_MONTH = "SELECT ensure_usage_month($1)"
_NEWEST_METERS = """
    SELECT DISTINCT ON (code) * FROM meter WHERE code = ANY($1::text[]) ORDER BY code, version DESC
"""
# Whether a point goes on to count in the same subscription, in a window that comes {after} one.
_GOES_ON = """
    EXISTS (
        SELECT FROM usage_window u JOIN subject_binding b ON b.subscription_id = u.subscription_id
        WHERE u.subscription_id = {p}.subscription_id AND u.period_index {after} {p}.period_index
          AND u.window_start < u.window_end AND u.window_end > {p}.needed_at
          AND u.items @> jsonb_build_array(jsonb_build_object('meter', {p}.meter))
          AND b.meter = {p}.meter AND b.subject = {p}.subject AND b.bound_from < u.window_end
          AND (b.bound_until IS NULL OR b.bound_until > greatest(u.window_start, {p}.needed_at)))
"""
# A point counts until its binding ends, or what is agreed on in the window does.
_MISSING = f"""
    WITH wanted AS (
        SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[],
            $7::int[], $8::boolean[])
            AS w(n, item_id, meter, starts, ends, subscription_id, period_index, is_estimated)
    ), point AS (
        SELECT w.n, w.meter, b.subject, w.subscription_id, w.period_index, w.is_estimated,
            max(least(w.ends, b.bound_until)) AS needed_at
        FROM wanted w JOIN subject_binding b ON b.item_id = w.item_id AND b.meter = w.meter
            AND b.bound_from < w.ends AND (b.bound_until IS NULL OR b.bound_until > w.starts)
        GROUP BY 1, 2, 3, 4, 5, 6
    ), unread AS (
        SELECT p.*, NOT {_GOES_ON.format(p="p", after=">")} AS is_end
        FROM point p
        WHERE NOT EXISTS (
            SELECT FROM meter_reading r WHERE r.meter = p.meter AND r.subject = p.subject
                AND r.read_at = p.needed_at AND r.state = 'accepted')
    )
    SELECT p.* FROM unread p
    WHERE p.is_end OR p.is_estimated AND NOT EXISTS (
        SELECT FROM meter_reading r WHERE r.meter = p.meter AND r.subject = p.subject
            AND r.read_at >= p.needed_at AND r.state = 'accepted')
    ORDER BY p.meter, p.subject, p.needed_at
"""
_ENDS_BESIDE = f"""
    WITH came AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS c(meter, subject, read_at)
    ), point AS (
        SELECT c.*, w.subscription_id, w.period_index, least(w.window_end, d.bound_until) AS needed_at
        FROM came c JOIN subject_binding d ON d.meter = c.meter AND d.subject = c.subject
        JOIN usage_window w ON w.subscription_id = d.subscription_id AND w.state = 'closed'
            AND w.window_start < w.window_end AND d.bound_from < w.window_end
            AND (d.bound_until IS NULL OR d.bound_until > w.window_start)
            AND w.items @> jsonb_build_array(jsonb_build_object('meter', c.meter))
    )
    SELECT DISTINCT p.meter, p.subject, p.needed_at FROM point p
    WHERE NOT EXISTS (
        SELECT FROM meter_reading r WHERE r.meter = p.meter AND r.subject = p.subject AND r.read_at = p.needed_at)
      AND NOT EXISTS (
        SELECT FROM meter_reading r WHERE r.meter = p.meter AND r.subject = p.subject AND r.state = 'accepted'
            AND NOT {_IS_ESTIMATE} AND r.read_at > least(p.read_at, p.needed_at)
            AND r.read_at < greatest(p.read_at, p.needed_at))
      AND NOT {_GOES_ON.format(p="p", after=">=")}
    ORDER BY p.meter, p.subject, p.needed_at
"""
# Periods of the subscription before this one, the newest first, with what was made of the point's readings in each.
_PERIODS = """
    SELECT w.n, p.quantity, p.lasted, p.whole
    FROM unnest($1::int[], $2::text[], $3::int[], $4::text[], $5::text[])
        AS w(n, subscription_id, period_index, meter, subject)
    CROSS JOIN LATERAL (
        SELECT u.period_index, c.quantity, u.window_end - u.window_start AS lasted,
               coalesce(u.whole_end, u.window_end) - coalesce(u.whole_start, u.window_start) AS whole
        FROM usage_window u CROSS JOIN LATERAL (
            SELECT sum(c.quantity) AS quantity, bool_or(c.is_estimated OR c.true_up IS NOT NULL) AS is_estimated
            FROM reading_consumption c
            WHERE c.meter = w.meter AND c.subject = w.subject AND c.voided_at IS NULL
              AND c.counts_at >= u.window_start AND c.counts_at < u.window_end
        ) c
        WHERE u.subscription_id = w.subscription_id AND u.period_index < w.period_index AND NOT c.is_estimated
        ORDER BY u.period_index DESC LIMIT $6
    ) p
    ORDER BY w.n, p.period_index DESC
"""
_TOLD = """
    SELECT w.n, sum(c.quantity) AS quantity
    FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
        AS w(n, meter, subject, starts, ends)
    JOIN reading_consumption c ON c.meter = w.meter AND c.subject = w.subject AND c.voided_at IS NULL
        AND c.counts_at >= w.starts AND c.counts_at < w.ends
    GROUP BY w.n
"""
_OPEN = """
    SELECT x.* FROM reading_exception x WHERE x.state = 'open' AND x.reading_id = ANY($1::text[])
    UNION ALL
    SELECT x.* FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS g(meter, subject, read_at)
    JOIN reading_exception x ON x.state = 'open' AND x.meter = g.meter AND x.subject = g.subject
        AND x.needed_at <= g.read_at
"""
_IF_NEW = "ON CONFLICT (id) DO NOTHING RETURNING id"


class MeterReadings:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find(self, ids: Collection[str]) -> Mapping[str, Reading]:
        table = rows.meter_reading
        found = await self._uow.connection.execute(select(table).where(is_among(table.c.id, ids)))
        return {row["id"]: _reading_from(row) for row in found.mappings()}

    async def load(self, stretches: Sequence[Stretch]) -> Mapping[MeterPoint, KnownReadings]:
        driver = await raw(self._uow.connection)
        found = await driver.fetch(
            _AROUND,
            [stretch.point.meter for stretch in stretches],
            [stretch.point.subject for stretch in stretches],
            [stretch.first_at for stretch in stretches],
            [stretch.last_at for stretch in stretches],
        )
        by_point: dict[MeterPoint, list[Any]] = defaultdict(list)
        for row in found:
            by_point[MeterPoint(row["meter"], row["subject"])].append(row)
        return {stretch.point: _known(by_point[stretch.point]) for stretch in stretches}

    async def insert(self, readings: Sequence[Reading]) -> None:
        await bulk_insert(self._uow.connection, rows.meter_reading, self._rows(readings))

    async def update(self, readings: Sequence[Reading]) -> None:
        await bulk_update(self._uow.connection, rows.meter_reading, self._rows(readings))

    async def made_of(self, reading_ids: Collection[str]) -> Sequence[MadeConsumption]:
        table = rows.reading_consumption
        found = await self._uow.connection.execute(
            select(table)
            .where(is_among(table.c.reading_id, reading_ids))
            .order_by(table.c.made_at, table.c.id)
        )
        return [_made_from(row) for row in found.mappings()]

    async def keep_made(self, made: Sequence[MadeConsumption]) -> None:
        told = [{"tenant": self._uow.tenant, **_made_row(one)} for one in made]
        await bulk_insert(self._uow.connection, rows.reading_consumption, told)

    async def void_made(self, event_ids: Collection[str], *, now: datetime) -> None:
        await (await raw(self._uow.connection)).execute(_VOID_MADE, sorted(event_ids), now)

    async def ensure_months(self, instants: Iterable[datetime]) -> None:
        driver = await raw(self._uow.connection)
        for month in sorted({month_of(at) for at in instants}):
            if month >= FIRST:
                await driver.execute(_MONTH, month)

    async def newest_meters(self, codes: Collection[str]) -> Mapping[str, Meter]:
        found = await (await raw(self._uow.connection)).fetch(_NEWEST_METERS, sorted(codes))
        return {row["code"]: meter_from(row) for row in found}

    async def find_missing(
        self, windows: Sequence[UsageWindow], estimated: Mapping[str, bool]
    ) -> Sequence[MissingReading]:
        wanted: list[tuple[int, str, str, datetime, datetime, str, int, bool]] = []
        for number, window in enumerate(windows):
            for span in window.spans():
                item = window.measured_items[span.place]
                if item.meter in estimated:
                    agreed = (number, item.item_id, item.meter, span.start, span.end)
                    period = (window.subscription_id, window.period_index)
                    wanted.append((*agreed, *period, estimated[item.meter]))
        if not wanted:
            return []
        driver = await raw(self._uow.connection)
        found = await driver.fetch(_MISSING, *(list(column) for column in zip(*wanted, strict=True)))
        return [
            MissingReading(
                MeterPoint(row["meter"], row["subject"]), row["needed_at"], windows[row["n"]], row["is_end"]
            )
            for row in found
        ]

    async def find_ends_beside(
        self, read: Collection[tuple[MeterPoint, datetime]]
    ) -> Mapping[MeterPoint, Sequence[datetime]]:
        instants = sorted(read)
        found = await (await raw(self._uow.connection)).fetch(
            _ENDS_BESIDE,
            [point.meter for point, _ in instants],
            [point.subject for point, _ in instants],
            [at for _, at in instants],
        )
        ends: dict[MeterPoint, list[datetime]] = defaultdict(list)
        for row in found:
            ends[MeterPoint(row["meter"], row["subject"])].append(row["needed_at"])
        return ends

    async def used_around(
        self, missing: Sequence[MissingReading], *, periods_max: int
    ) -> Sequence[UsedAround]:
        driver = await raw(self._uow.connection)
        numbers = list(range(len(missing)))
        meters = [one.point.meter for one in missing]
        subjects = [one.point.subject for one in missing]
        starts, ends = [one.window.window_start for one in missing], [one.needed_at for one in missing]
        told = await driver.fetch(_TOLD, numbers, meters, subjects, starts, ends)
        found = await driver.fetch(
            _PERIODS,
            numbers,
            [one.window.subscription_id for one in missing],
            [one.window.period_index for one in missing],
            meters,
            subjects,
            periods_max,
        )
        periods: list[list[PeriodUsed]] = [[] for _ in missing]
        for row in found:
            part = Fraction(row["lasted"] // MICROSECOND, row["whole"] // MICROSECOND)
            periods[row["n"]].append(PeriodUsed(row["quantity"], part))
        used = {row["n"]: row["quantity"] for row in told}
        return [UsedAround(used.get(n, Decimal(0)), periods[n]) for n in numbers]

    async def find_exception(self, id: str) -> ReadingException | None:
        table = rows.reading_exception
        found = await self._uow.connection.execute(select(table).where(table.c.id == id))
        row = found.mappings().first()
        return None if row is None else _exception_from(row)

    async def find_exceptions_for_update(self, ids: Collection[str]) -> Mapping[str, ReadingException]:
        table = rows.reading_exception
        found = await self._uow.connection.execute(
            select(table).where(is_among(table.c.id, ids)).order_by(table.c.id).with_for_update()
        )
        return {row["id"]: _exception_from(row) for row in found.mappings()}

    async def open_exceptions(
        self, *, reading_ids: Collection[str], read: Mapping[MeterPoint, datetime]
    ) -> Sequence[ReadingException]:
        points = sorted(read)
        found = await (await raw(self._uow.connection)).fetch(
            _OPEN,
            sorted(reading_ids),
            [point.meter for point in points],
            [point.subject for point in points],
            [read[point] for point in points],
        )
        return [_exception_from(row) for row in found]

    async def add_exceptions(self, exceptions: Sequence[ReadingException]) -> Collection[str]:
        told = [{"tenant": self._uow.tenant, **_exception_row(exception)} for exception in exceptions]
        added = await bulk_insert(self._uow.connection, rows.reading_exception, told, tail=_IF_NEW)
        return {row["id"] for row in added}

    async def save_exceptions(self, exceptions: Sequence[ReadingException]) -> None:
        told = [{"tenant": self._uow.tenant, **_exception_row(exception)} for exception in exceptions]
        await bulk_update(self._uow.connection, rows.reading_exception, told)

    async def list_readings(self, wanted: ReadingFilter, page: PageRequest) -> Slice[Reading]:
        column = rows.meter_reading.c
        conditions = [
            column[name] == value
            for name, value in (
                ("meter", wanted.meter),
                ("subject", wanted.subject),
                ("state", wanted.state),
                ("device", wanted.device),
            )
            if value is not None
        ]
        if wanted.start is not None:
            conditions.append(column.read_at >= wanted.start)
        if wanted.end is not None:
            conditions.append(column.read_at < wanted.end)
        return await fetch_page(
            self._uow.connection,
            select(rows.meter_reading).where(*conditions),
            created_at=column.received_at,
            id=column.id,
            page=page,
            to_view=_reading_from,
        )

    async def list_exceptions(self, wanted: ExceptionFilter, page: PageRequest) -> Slice[ReadingException]:
        column = rows.reading_exception.c
        conditions = [
            column[name] == value
            for name, value in (
                ("meter", wanted.meter),
                ("subject", wanted.subject),
                ("kind", wanted.kind),
                ("state", wanted.state),
            )
            if value is not None
        ]
        return await fetch_page(
            self._uow.connection,
            select(rows.reading_exception).where(*conditions),
            created_at=column.opened_at,
            id=column.id,
            page=page,
            to_view=_exception_from,
        )

    async def list_consumptions(
        self, point: MeterPoint, start: datetime | None, end: datetime | None, page: PageRequest
    ) -> Slice[MadeConsumption]:
        """In the order of the time that they are of. What no longer counts is left out."""
        column = rows.reading_consumption.c
        conditions = [
            column.meter == point.meter,
            column.subject == point.subject,
            column.voided_at.is_(None),
        ]
        if start is not None:
            conditions.append(column.counts_at >= start)
        if end is not None:
            conditions.append(column.counts_at < end)
        if page.created_from is not None:
            conditions.append(column.made_at >= page.created_from)
        if page.created_to is not None:
            conditions.append(column.made_at < page.created_to)
        return await fetch_page(
            self._uow.connection,
            select(rows.reading_consumption).where(*conditions),
            created_at=column.counts_at,
            id=column.id,
            page=PageRequest(page.limit, page.after),
            to_view=_made_from,
        )

    def _rows(self, readings: Sequence[Reading]) -> list[dict[str, Any]]:
        return [{"tenant": self._uow.tenant, **_reading_row(reading)} for reading in readings]


def _known(found: Sequence[Any]) -> KnownReadings:
    """The last reading at the start is where the counter stood; others of that instant came before it."""
    if not found:
        return KnownReadings(None, (), ())
    first = found[0]
    readings = sorted((_reading_from(row) for row in found), key=lambda reading: reading.place)
    start_at: datetime | None = first["start_at"]
    before = [r for r in readings if start_at is not None and r.read_at == start_at and r.state == "accepted"]
    start = None
    if before:
        digits = None if before[-1].kind == "exchange" else first["start_digits"]
        start = opening(before[-1], device=first["start_device"], register_digits=digits)
    after = [r for r in readings if start_at is None or r.read_at > start_at]
    return KnownReadings(
        start,
        tuple(r for r in after if r.state == "accepted"),
        tuple(r for r in after if r.state == "held"),
    )


def _reading_row(reading: Reading) -> dict[str, Any]:
    return {
        "id": reading.id,
        "version": reading.version,
        "meter": reading.meter,
        "subject": reading.subject,
        "sent_id": reading.sent_id,
        "sent_digest": reading.digest,
        "device": reading.device,
        "read_at": reading.read_at,
        "value": reading.value,
        "quality": reading.quality,
        "kind": reading.kind,
        "register_digits": reading.register_digits,
        "old_end": reading.old_end,
        "new_start": reading.new_start,
        "state": reading.state,
        "reason": reading.reason,
        "is_certain": reading.is_certain,
        "replaces": reading.replaces,
        "author": reading.author,
        "received_at": reading.received_at,
    }


def _reading_from(row: Any) -> Reading:
    return Reading(
        id=row["id"],
        version=row["version"],
        meter=row["meter"],
        subject=row["subject"],
        sent_id=row["sent_id"],
        digest=row["sent_digest"],
        device=row["device"],
        read_at=row["read_at"],
        value=row["value"],
        quality=row["quality"],
        kind=row["kind"],
        register_digits=row["register_digits"],
        old_end=row["old_end"],
        new_start=row["new_start"],
        state=row["state"],
        reason=row["reason"],
        is_certain=row["is_certain"],
        replaces=row["replaces"],
        author=row["author"],
        received_at=row["received_at"],
    )


def _made_row(made: MadeConsumption) -> dict[str, Any]:
    consumption = made.consumption
    return {
        "id": made.event_id,
        "meter": made.meter,
        "subject": made.subject,
        "reading_id": consumption.reading_id,
        "starts_at": consumption.start,
        "ends_at": consumption.end,
        "counts_at": consumption.counts_at,
        "quantity": consumption.quantity,
        "rule": consumption.rule,
        "is_estimated": consumption.is_estimated,
        "true_up": None if consumption.true_up is None else true_up_json(consumption.true_up),
        "behind": list(consumption.behind),
        "made_at": made.made_at,
    }


def _made_from(row: Any) -> MadeConsumption:
    consumption = Consumption(
        reading_id=row["reading_id"],
        start=row["starts_at"],
        end=row["ends_at"],
        quantity=row["quantity"],
        rule=row["rule"],
        is_estimated=row["is_estimated"],
        true_up=None if row["true_up"] is None else true_up_from(row["true_up"]),
        behind=tuple(row["behind"]),
    )
    return MadeConsumption(
        row["id"], row["meter"], row["subject"], consumption, row["made_at"], row["voided_at"] is None
    )


def _exception_row(exception: ReadingException) -> dict[str, Any]:
    return {
        "id": exception.id,
        "version": exception.version,
        "kind": exception.kind,
        "meter": exception.meter,
        "subject": exception.subject,
        "reading_id": exception.reading_id,
        "needed_at": exception.needed_at,
        "told": exception.told,
        "state": exception.state,
        "resolution": exception.resolution,
        "reason": exception.reason,
        "resolved_by": exception.resolved_by,
        "opened_at": exception.opened_at,
        "resolved_at": exception.resolved_at,
    }


def _exception_from(row: Any) -> ReadingException:
    return ReadingException(
        id=row["id"],
        version=row["version"],
        kind=row["kind"],
        meter=row["meter"],
        subject=row["subject"],
        reading_id=row["reading_id"],
        needed_at=row["needed_at"],
        told=row["told"],
        state=row["state"],
        resolution=row["resolution"],
        reason=row["reason"],
        resolved_by=row["resolved_by"],
        opened_at=row["opened_at"],
        resolved_at=row["resolved_at"],
    )

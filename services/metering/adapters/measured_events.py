"""The events behind a figure, with what its meter took from each; of a level, the steps that the figure is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.paging import PageRequest, Position, Slice
from libs.common.persistence.base import raw
from services.metering.adapters.usage_facts import (
    ASKED,
    EPOCH,
    NO_CUTS,
    SIZED,
    SPANS_OF_BINDINGS,
    SPANS_OF_SUBJECT,
    SPANS_OF_WINDOWS,
)
from services.metering.application.reads import MeasuredEvent, StoredEvent, Whose
from services.metering.domain.level_steps import (
    STEPS_MAX,
    LevelEvent,
    LevelSpan,
    TooManySteps,
    steps_of,
)
from services.metering.domain.meter import Meter
from services.metering.domain.usage_retention import raw_events_gone

_FIRST = UUID(int=0)
_PAYLOAD = "e.arrived_at, e.type, e.source, e.event_id, e.data::text AS data_json"

# Raw events are looked through in the order of their index, and only as far as a page reaches: the view alone would be
# asked for all of them, and sorted.
_EVENTS = f"""
    SELECT f.* FROM sized s JOIN meter m ON m.id = s.meter_id CROSS JOIN LATERAL (
        SELECT r.occurred_at, r.key, v.*
        FROM (
            SELECT e.occurred_at, e.key FROM usage_event e
            WHERE e.subject = s.subject AND e.type = m.event_type
              AND e.occurred_at >= greatest(s.starts, {{at}}::timestamptz) AND e.occurred_at < s.ends
              AND (e.occurred_at, e.key) > ({{at}}::timestamptz, {{key}}::uuid)
            ORDER BY e.occurred_at, e.key
            OFFSET 0
        ) r CROSS JOIN LATERAL (
            SELECT e.meter_id, e.subject, e.group_key, e.value, e.member, e.is_in, {_PAYLOAD}
            FROM usage_measured e
            WHERE e.meter_id = s.meter_id AND e.occurred_at = r.occurred_at AND e.key = r.key AND {ASKED.format("s")}
            OFFSET 0
        ) v
        ORDER BY r.occurred_at, r.key LIMIT {{limit}}
    ) f ORDER BY f.occurred_at, f.key LIMIT {{limit}}
"""
# The things that were there when a span began, each with the event that brought it: they count in it as well.
_EVENTS_AND_KEPT = f"""
    , before AS (
        SELECT DISTINCT ON (s.meter_id, s.subject, s.starts, f.group_key, f.member) s.meter_id, s.subject, f.*
        FROM sized s CROSS JOIN LATERAL (
            SELECT b.group_key, b.member, b.last_at, b.last_key, b.is_in FROM usage_member b
            WHERE b.meter_id = s.meter_id AND b.subject = s.subject AND b.bucket_start <= s.starts - s.size
            UNION ALL
            SELECT e.group_key, e.member, e.occurred_at, e.key, e.is_in FROM usage_measured e
            WHERE e.meter_id = s.meter_id AND e.subject = s.subject
              AND e.occurred_at >= date_bin(s.size, s.starts, {EPOCH}) AND e.occurred_at < s.starts
            OFFSET 0
        ) f
        WHERE {ASKED.format("s")}
        ORDER BY s.meter_id, s.subject, s.starts, f.group_key, f.member, f.last_at DESC, f.last_key DESC
    )
    SELECT * FROM ({_EVENTS}) AS inside
    UNION
    SELECT e.occurred_at, e.key, e.meter_id, e.subject, e.group_key, e.value, e.member, e.is_in, {_PAYLOAD}
    FROM before b JOIN usage_measured e ON e.meter_id = b.meter_id AND e.subject = b.subject
        AND e.occurred_at = b.last_at AND e.key = b.last_key
    WHERE b.is_in AND (e.occurred_at, e.key) > ({{at}}::timestamptz, {{key}}::uuid)
    ORDER BY 1, 2 LIMIT {{limit}}
"""
# Of each subject and group: the level before each span, and then what happened to it. A limit holds for all of it.
_CHANGES = f"""
    , carried AS (
        SELECT s.meter_id, s.subject, s.starts, s.ends, f.group_key,
               CASE s.options ->> 'level' WHEN 'change' THEN sum(f.net)
                    ELSE (array_agg(f.level ORDER BY f.at DESC, f.key DESC))[1] END AS value
        FROM sized s CROSS JOIN LATERAL (
            SELECT b.group_key, b.total AS net, b.latest_value AS level, b.latest_at AS at, b.latest_key AS key
            FROM usage_bucket b
            WHERE b.meter_id = s.meter_id AND b.subject = s.subject AND b.bucket_start <= s.starts - s.size
            UNION ALL
            SELECT e.group_key, e.value, e.value, e.occurred_at, e.key FROM usage_measured e
            WHERE e.meter_id = s.meter_id AND e.subject = s.subject
              AND e.occurred_at >= date_bin(s.size, s.starts, {EPOCH}) AND e.occurred_at < s.starts
            OFFSET 0
        ) f
        WHERE {ASKED.format("s")}
        GROUP BY s.meter_id, s.subject, s.starts, s.ends, s.options, f.group_key
    )
    SELECT * FROM (
        SELECT meter_id, subject, starts, ends, group_key, NULL::timestamptz AS at, NULL::uuid AS key, value FROM carried
        UNION ALL
        SELECT s.meter_id, s.subject, s.starts, s.ends, f.group_key, f.at, f.key, f.value
        FROM sized s CROSS JOIN LATERAL (
            SELECT e.group_key, e.occurred_at AS at, e.key, e.value FROM usage_measured e
            WHERE e.meter_id = s.meter_id AND e.subject = s.subject
              AND e.occurred_at >= s.starts AND e.occurred_at < s.ends
            OFFSET 0
        ) f
        WHERE {ASKED.format("s")}
        LIMIT {STEPS_MAX + 1}
    ) of_levels ORDER BY meter_id, subject, starts, group_key, at NULLS FIRST, key
"""
_PAYLOADS = f"""
    SELECT e.key, e.occurred_at, e.subject, {_PAYLOAD}
    FROM unnest($1::timestamptz[], $2::uuid[]) AS w(at, key)
    JOIN usage_event e ON e.occurred_at = w.at AND e.key = w.key
"""


async def list_measured_events(
    connection: AsyncConnection, versions: Sequence[Meter], whose: Whose, page: PageRequest
) -> Slice[MeasuredEvent]:
    """By when they happened. Raises: TooManySteps, RawEventsGone."""
    await _check_kept(connection, versions[-1], whose)
    if versions[-1].aggregation == "time_weighted":
        return await _list_steps(connection, versions, whose, page)
    spans, parameters = _spans(versions[-1].code, whose)
    after = page.after
    parameters += [after.created_at if after else whose.start, UUID(after.id) if after else _FIRST]
    finish = _EVENTS
    if versions[-1].options.keeps:
        finish = _EVENTS_AND_KEPT
        parameters[-2] = after.created_at if after else datetime.min.replace(tzinfo=whose.start.tzinfo)
    at, key = f"${len(parameters) - 1}", f"${len(parameters)}"
    finish = finish.format(at=at, key=key, limit=page.limit + 1)
    found = await (await raw(connection)).fetch(f"WITH {spans} {finish}", *parameters)
    names = _names(versions)
    events = tuple(
        MeasuredEvent(
            event=_event_from(row),
            subject=row["subject"],
            at=row["occurred_at"],
            key=row["key"],
            group=_group(names, row["meter_id"], row["group_key"]),
            value=row["value"],
            member=row["member"],
            is_in=row["is_in"],
        )
        for row in found[: page.limit]
    )
    following = None
    if len(found) > page.limit:
        last = found[page.limit - 1]
        following = Position(last["occurred_at"], str(last["key"]))
    return Slice(events, following)


async def _check_kept(connection: AsyncConnection, meter: Meter, whose: Whose) -> None:
    """What is kept for as long as it was not taken away may have come at any time."""
    kept_from: datetime | None = await (await raw(connection)).fetchval("SELECT usage_kept_from()")
    if kept_from is not None and (whose.start < kept_from or meter.options.keeps):
        raise raw_events_gone(kept_from)


async def _list_steps(
    connection: AsyncConnection, versions: Sequence[Meter], whose: Whose, page: PageRequest
) -> Slice[MeasuredEvent]:
    """All steps are made for each page, since what one contributes depends on those before it."""
    spans, parameters = _spans(versions[-1].code, whose)
    driver = await raw(connection)
    rows = await driver.fetch(f"WITH {spans} {_CHANGES}", *parameters)
    if len(rows) > STEPS_MAX:
        raise TooManySteps(
            f"the level has more than {STEPS_MAX} steps", remedy="Ask for less time, or for fewer subjects."
        )
    levels = list(_levels(rows, whose))
    steps = steps_of(
        versions[-1].options,
        [span for _, span in levels],
        start=whose.start,
        end=whose.end,
        zone=whose.zone,
        after=None if page.after is None else (page.after.created_at, UUID(page.after.id).bytes),
        limit=page.limit + 1,
    )
    shown = steps[: page.limit]
    payloads = await driver.fetch(
        _PAYLOADS,
        [step.at for step in shown if step.event_key is not None],
        [UUID(bytes=step.event_key) for step in shown if step.event_key is not None],
    )
    events = {row["key"].bytes: _event_from(row) for row in payloads}
    values = {event.key: event.value for _, span in levels for event in span.events}
    names = _names(versions)
    told = tuple(
        MeasuredEvent(
            event=None if step.event_key is None else events[step.event_key],
            subject=levels[step.span][0]["subject"],
            at=step.at,
            key=UUID(bytes=step.key),
            group=_group(names, levels[step.span][0]["meter_id"], levels[step.span][0]["group_key"]),
            value=None if step.event_key is None else values[step.event_key],
            step=step.step,
        )
        for step in shown
    )
    last = shown[-1] if len(steps) > len(shown) else None
    return Slice(told, None if last is None else Position(last.at, str(UUID(bytes=last.key))))


def _spans(code: str, whose: Whose) -> tuple[str, list[Any]]:
    """The statement's beginning, and its parameters so far."""
    if whose.spans is not None:
        assert whose.item_ids is not None, "the spans of a window are those of its items"
        spans = [(0, item, code, span.start, span.end) for item in whose.item_ids for span in whose.spans]
        parameters: list[Any] = [list(column) for column in zip(*spans, strict=True)]
        beginning = SPANS_OF_WINDOWS
    else:
        parameters = [code, [whose.start], [whose.end], [], json.dumps(dict(whose.filters))]
        if whose.item_ids is None:
            beginning = SPANS_OF_SUBJECT
            parameters.append(whose.subject)
        else:
            beginning = SPANS_OF_BINDINGS
            parameters += [list(whose.item_ids), whose.subject, whose.asset_id]
    names, allowed = ("$4", "$5") if whose.spans is None else ("'{}'", "'{}'")
    return f"{beginning}, {SIZED.format(cuts=NO_CUTS, names=names, allowed=allowed)}", parameters


def _levels(rows: Iterable[Any], whose: Whose) -> Iterator[tuple[Any, LevelSpan]]:
    """A row that tells of it, and the span, of each subject and group. What has not come yet has none."""
    until = whose.until

    def series(row: Any) -> tuple[Any, ...]:
        return row["meter_id"], row["subject"], row["starts"], row["group_key"]

    for named, found in groupby(rows, key=series):
        told = list(found)
        first = told[0]
        ends = first["ends"] if until is None else min(first["ends"], until)
        if first["starts"] >= ends:
            continue
        events = [
            LevelEvent(row["at"], row["key"].bytes, row["value"])
            for row in told
            if row["at"] and row["at"] < ends
        ]
        carried = first["value"] if first["at"] is None else Decimal(0)
        key = sha256("\n".join(map(str, named)).encode()).digest()[:16]
        yield (
            first,
            LevelSpan(
                first["starts"], ends, key, carried, events, is_handed_on=ends not in (whose.end, until)
            ),
        )


def _names(versions: Sequence[Meter]) -> Mapping[str, Sequence[str]]:
    return {version.id: [dimension.name for dimension in version.dimensions] for version in versions}


def _group(names: Mapping[str, Sequence[str]], meter_id: str, group_key: str) -> Mapping[str, str | None]:
    return dict(zip(names[meter_id], json.loads(group_key), strict=True))


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

"""Seals of windows: which are to be sealed, the events behind their totals, read once and in order, and the digests.

What adds up is read for many totals at once through one cursor, however many events there are: the database sorts
them, and a thousand at a time are in memory. Levels, and things that are kept, are read total by total.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, exists, func, select

from libs.common.ids import random_hex
from libs.common.paging import PageRequest
from libs.common.persistence.base import bulk_insert, raw
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.adapters.measured_events import list_measured_events
from services.metering.adapters.usage_facts import NO_CUTS, SIZED, SPANS_OF_WINDOWS
from services.metering.application.prove_usage import leaf_for, place_of
from services.metering.application.reads import Whose
from services.metering.domain.level_steps import STEPS_MAX, TooManySteps
from services.metering.domain.meter import Meter
from services.metering.domain.metered_item import Span
from services.metering.domain.usage_retention import RawEventsGone
from services.metering.domain.usage_seal import (
    Leaf,
    LeafPlace,
    LeafTree,
    UsageDigest,
    hash_of,
    leaf_of,
    packed,
    unpacked,
)
from services.metering.domain.usage_window import UsageWindow

EVENTS_AT_ONCE = 1_000
PAGE_LENGTH = 1_000

# In order of time within each total. An event counts in it once, whatever spans it has: they do not overlap.
_EVENTS = f"""
    WITH {SPANS_OF_WINDOWS}, {SIZED.format(cuts=NO_CUTS, names="'{}'", allowed="'{}'")}
    SELECT s.n, e.* FROM sized s CROSS JOIN LATERAL (
        SELECT e.occurred_at, e.key, e.meter_id, e.subject, e.group_key, e.value, e.member, e.is_in, e.type, e.source,
               e.event_id
        FROM usage_measured e
        WHERE e.meter_id = s.meter_id AND e.subject = s.subject
          AND e.occurred_at >= s.starts AND e.occurred_at < s.ends
        OFFSET 0
    ) e
    ORDER BY s.n, e.occurred_at, e.key
"""


class UsageSeals:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._noted: dict[str, UsageWindow] = {}

    def note(self, window: UsageWindow) -> None:
        """The closed window is to be sealed, or sealed again."""
        self._noted[window.id] = window

    def reset(self) -> None:
        self._noted.clear()

    async def flush(self) -> None:
        noted, self._noted = self._noted, {}
        await bulk_insert(
            self._uow.connection,
            rows.usage_seal_note,
            [
                {
                    "id": f"useal_{random_hex()}",
                    "tenant": self._uow.tenant,
                    "window_id": window.id,
                    "due_at": window.window_end,
                    "clock_id": window.clock_id,
                    "traceparent": window.traceparent,
                }
                for window in noted.values()
            ],
        )

    async def noted(self, note_ids: Sequence[str]) -> Mapping[str, str]:
        """By the ids of notes, of which windows they are."""
        table = rows.usage_seal_note
        found = select(table.c.id, table.c.window_id).where(table.c.id.in_(note_ids))
        return {row.id: row.window_id for row in await self._uow.connection.execute(found)}

    async def remove(self, note_ids: Collection[str]) -> None:
        table = rows.usage_seal_note
        await self._uow.connection.execute(delete(table).where(table.c.id.in_(note_ids)))

    async def find_settled(
        self, window_ids: Collection[str], *, noted_only_by: Collection[str] | None = None
    ) -> Mapping[str, UsageWindow]:
        window, late, note = rows.usage_window, rows.late_usage, rows.usage_seal_note
        wanted = select(window).where(
            window.c.id.in_(window_ids),
            window.c.state == "closed",
            ~exists().where(late.c.window_id == window.c.id),
        )
        if noted_only_by is not None:
            others = note.c.id.not_in(noted_only_by)
            wanted = wanted.where(~exists().where(note.c.window_id == window.c.id, others))
        found = (await self._uow.connection.execute(wanted)).mappings()
        return {row["id"]: row_mapping.window_from(row) for row in found}

    async def newest(self, window_ids: Collection[str]) -> Mapping[str, Sequence[UsageDigest]]:
        """The digests of the last seal of each window that has one, by item and price."""
        table = rows.usage_digest
        last = (
            select(table.c.window_id, func.max(table.c.seal).label("seal"))
            .where(table.c.window_id.in_(window_ids))
            .group_by(table.c.window_id)
            .subquery()
        )
        wanted = (
            select(table)
            .join(last, (table.c.window_id == last.c.window_id) & (table.c.seal == last.c.seal))
            .order_by(table.c.window_id, table.c.item_id, table.c.price_id.nulls_first())
        )
        found: dict[str, list[UsageDigest]] = defaultdict(list)
        for row in (await self._uow.connection.execute(wanted)).mappings():
            found[row["window_id"]].append(_digest_from(row))
        return found

    async def of_window(self, window_id: str, revision: int | None) -> Sequence[UsageDigest]:
        table = rows.usage_digest
        seals = select(func.max(table.c.seal)).where(table.c.window_id == window_id)
        if revision is not None:
            seals = seals.where(table.c.revision == revision)
        wanted = (
            select(table)
            .where(table.c.window_id == window_id, table.c.seal == seals.scalar_subquery())
            .order_by(table.c.item_id, table.c.price_id.nulls_first())
        )
        return [_digest_from(row) for row in (await self._uow.connection.execute(wanted)).mappings()]

    async def add(self, digests: Sequence[UsageDigest], *, sealed_at: datetime) -> None:
        given = [
            {"tenant": self._uow.tenant, **_digest_row(digest), "sealed_at": sealed_at} for digest in digests
        ]
        await bulk_insert(self._uow.connection, rows.usage_digest, given)

    async def read(
        self, wanted: Sequence[tuple[UsageWindow, int]], zones: Mapping[str, str]
    ) -> Mapping[tuple[str, int], LeafTree]:
        """The tree of each total, by its window and its place in it. Without those whose events are kept no longer, or
        whose level has too many steps. `zones` are those of subscriptions."""
        versions = await self._versions({window.measured_items[place].meter for window, place in wanted})
        added_up: list[tuple[UsageWindow, int]] = []
        trees: dict[tuple[str, int], LeafTree] = {}
        kept_from: datetime | None = await (await raw(self._uow.connection)).fetchval(
            "SELECT usage_kept_from()"
        )
        for window, place in wanted:
            of_meter = versions.get(window.measured_items[place].meter, ())
            if not of_meter:
                trees[window.id, place] = LeafTree()
            elif of_meter[-1].aggregation == "time_weighted" or of_meter[-1].options.keeps:
                zone = zones.get(window.subscription_id, "UTC")
                tree = await self._special(window, place, of_meter, zone)
                if tree is not None:
                    trees[window.id, place] = tree
            elif kept_from is None or window.window_start >= kept_from:
                added_up.append((window, place))
                trees[window.id, place] = LeafTree()
        names = {
            version.id: [dimension.name for dimension in version.dimensions]
            for of_meter in versions.values()
            for version in of_meter
        }
        await self._added_up(added_up, trees, names)
        return trees

    async def _added_up(
        self,
        wanted: Sequence[tuple[UsageWindow, int]],
        trees: Mapping[tuple[str, int], LeafTree],
        names: Mapping[str, Sequence[str]],
    ) -> None:
        spans = [
            (n, window.items[place].item_id, window.items[place].meter, span.start, span.end)
            for n, (window, place) in enumerate(wanted)
            for span in window.spans()
            if span.place == place
        ]
        if not spans:
            return
        driver = await raw(self._uow.connection)
        columns = [list(column) for column in zip(*spans, strict=True)]
        cursor = await driver.cursor(_EVENTS, *columns)
        while found := await cursor.fetch(EVENTS_AT_ONCE):
            for row in found:
                window, at = wanted[row["n"]]
                place = LeafPlace(row["occurred_at"], row["key"])
                trees[window.id, at].add(place, hash_of(_leaf_from(row, place, names)))

    async def _special(
        self, window: UsageWindow, place: int, versions: Sequence[Meter], zone: str
    ) -> LeafTree | None:
        item = window.measured_items[place]
        whose = Whose(
            start=window.window_start,
            end=window.window_end,
            zone=zone,
            item_ids=[item.item_id],
            spans=[Span(span.start, span.end) for span in window.spans() if span.place == place],
        )
        tree = LeafTree()
        if not whose.spans:
            return tree
        limit = STEPS_MAX if versions[-1].aggregation == "time_weighted" else PAGE_LENGTH
        page = PageRequest(limit=limit)
        while True:
            try:
                found = await list_measured_events(self._uow.connection, versions, whose, page)
            except (RawEventsGone, TooManySteps):
                return None
            for event in found.items:
                tree.add(place_of(event), hash_of(leaf_for(event)))
            if found.next is None:
                return tree
            page = PageRequest(limit=limit, after=found.next)

    async def _versions(self, codes: Collection[str]) -> Mapping[str, Sequence[Meter]]:
        wanted = select(rows.meter).where(rows.meter.c.code.in_(codes)).order_by(rows.meter.c.version)
        found: dict[str, list[Meter]] = defaultdict(list)
        for row in (await self._uow.connection.execute(wanted)).mappings():
            found[row["code"]].append(row_mapping.meter_from(row))
        return found


def _leaf_from(row: Any, place: LeafPlace, names: Mapping[str, Sequence[str]]) -> Leaf:
    group_key = row["group_key"]
    group = {}
    if group_key != "[]":
        group = dict(zip(names[row["meter_id"]], json.loads(group_key), strict=True))
    return leaf_of(
        place,
        row["subject"],
        source=row["source"],
        event_id=row["event_id"],
        event_type=row["type"],
        group=group,
        value=row["value"],
        member=row["member"],
        is_in=row["is_in"],
    )


def _digest_row(digest: UsageDigest) -> dict[str, Any]:
    return {
        "id": digest.id,
        "window_id": digest.window_id,
        "seal": digest.seal,
        "revision": digest.revision,
        "item_id": digest.item_id,
        "price_id": digest.price_id,
        "meter": digest.meter,
        "quantity": digest.quantity,
        "event_count": digest.event_count,
        "leaf_count": digest.leaf_count,
        "root": digest.root,
        "chunks": packed(digest.chunks),
    }


def _digest_from(row: RowMapping) -> UsageDigest:
    return UsageDigest(
        window_id=row["window_id"],
        seal=row["seal"],
        revision=row["revision"],
        item_id=row["item_id"],
        price_id=row["price_id"],
        meter=row["meter"],
        quantity=row["quantity"],
        event_count=row["event_count"],
        leaf_count=row["leaf_count"],
        root=row["root"],
        chunks=unpacked(row["chunks"]),
    )

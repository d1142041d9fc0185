"""What a consumer does about the replays that were asked of its group: go back in the partitions that it owns."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, Table, func, select, tuple_, update

from libs.common.messaging.bus import Bus, Delivery, Subscription
from libs.common.persistence.outage import is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork

log = logging.getLogger(__name__)

LOOK_S = 1.0

Place = tuple[str, int]  # topic, partition


@dataclass(frozen=True, slots=True)
class _Sought:
    offset: int
    replay_ids: tuple[str, ...]


class ReplayFollower:
    """One for each subscription, asked by its consumer between two polls.

    A replay has begun in a partition once its first messages were handled and acknowledged: from then on the
    group's own offset says where it stands, and whoever takes the partition over goes on from there. Until then it
    is sought again at every look, so one that a death or a rebalance came between is begun by the next owner.
    """

    def __init__(self, *, group: str, bus: Bus, units: UnitsOfWork[Any]) -> None:
        self._group, self._bus, self._units = group, bus, units
        self._sought: dict[Place, _Sought] = {}
        self._look_at = 0.0

    async def look(self, subscription: Subscription) -> None:
        """At most once a second. A look that fails is made again: consuming does not depend on it."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        try:
            await self._look(subscription)
        except Exception as error:
            self._tell(error)

    async def note(self, deliveries: Sequence[Delivery]) -> None:
        """These were handled and acknowledged."""
        if not self._sought:
            return
        try:
            await self._note(deliveries)
        except Exception as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not is_outage(error):
            log.error("a replay stumbled", extra={"group": self._group}, exc_info=error)

    async def _look(self, subscription: Subscription) -> None:
        self._sought = {}
        owned = subscription.owned()
        mine = [row for row in await self._open() if (row["topic"], row["partition"]) in owned]
        for topic in sorted({row["topic"] for row in mine}):
            handled = await self._bus.committed(self._group, topic)
            there = [row for row in mine if row["topic"] == topic]
            over = [row for row in there if row["begun_at"] is not None and _is_over(row, handled)]
            await self._mark(over, "done_at")
            waiting = [row for row in there if row["begun_at"] is None]
            if waiting:
                await self._seek(topic, waiting, handled, subscription)

    async def _seek(
        self, topic: str, waiting: Sequence[RowMapping], handled: dict[int, int], subscription: Subscription
    ) -> None:
        """Go back, never ahead: what the group has not handled yet is not passed over."""
        begins = await self._bus.begin_offsets(topic)
        by_partition: dict[int, list[RowMapping]] = defaultdict(list)
        for row in waiting:
            by_partition[row["partition"]].append(row)
        for partition, rows in sorted(by_partition.items()):
            offset = max(min(row["from_offset"] for row in rows), begins[partition])
            if offset >= handled.get(partition, 0):
                await self._mark(
                    rows, "begun_at"
                )  # it stands before that already, on the way of another replay
            elif await subscription.seek(topic, partition, offset):
                ids = tuple(row["replay_id"] for row in rows)
                self._sought[topic, partition] = _Sought(offset, ids)

    async def _note(self, deliveries: Sequence[Delivery]) -> None:
        first: dict[Place, int] = {}
        past: dict[Place, int] = {}
        for delivery in deliveries:
            place = (delivery.topic, delivery.partition)
            first[place] = min(first.get(place, delivery.offset), delivery.offset)
            past[place] = max(past.get(place, 0), delivery.offset + 1)
        for place in first.keys() & self._sought.keys():
            sought = self._sought.pop(place)
            topic, partition = place
            # Else the partition was lost in between, and the deliveries are not those that were sought.
            begun = first[place] <= sought.offset
            if begun and (await self._bus.committed(self._group, topic)).get(partition) == past[place]:
                await self._mark_ids(sought.replay_ids, place, "begun_at")
                log.info("replay begun", extra={"group": self._group, "topic": topic, "partition": partition})

    async def _open(self) -> list[RowMapping]:
        async with self._units.open_for_many() as uow:
            await uow.become("", self._group)
            request, part = uow.machinery.replay_request, uow.machinery.replay_partition
            wanted = (
                select(part)
                .join(request, request.c.id == part.c.replay_id)
                .where(part.c.done_at.is_(None), request.c.handler == self._group)
            )
            return list((await uow.connection.execute(wanted)).mappings())

    async def _mark(self, rows: Iterable[RowMapping], column: str) -> None:
        for row in rows:
            await self._mark_ids((row["replay_id"],), (row["topic"], row["partition"]), column)

    async def _mark_ids(self, replay_ids: Sequence[str], place: Place, column: str) -> None:
        async with self._units.open_for_many() as uow:
            await uow.become("", self._group)
            part: Table = uow.machinery.replay_partition
            mine = part.c.replay_id.in_(replay_ids) & (tuple_(part.c.topic, part.c.partition) == place)
            await uow.connection.execute(update(part).where(mine).values({column: func.clock_timestamp()}))


def _is_over(row: RowMapping, handled: dict[int, int]) -> bool:
    return handled.get(row["partition"], 0) >= int(row["until_offset"])

"""A group hears again what it has handled: asked for by an operator, carried out by the group's consumers.

It is harmless: whatever was handled is in the inbox, which keeps it for longer than any bus does. A replay only
goes back. What lies before the place where the group stood is delivered once more; nothing is ever left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from sqlalchemy import RowMapping, insert, select

from libs.common.errors import NotFound, RuleViolation
from libs.common.ids import new_id
from libs.common.messaging.bus import Bus
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork

ReplayStatus = Literal["waiting", "replaying", "done"]


class ReplayNotFound(NotFound):
    code: ClassVar[str] = "replay_not_found"
    title: ClassVar[str] = "There is no such replay"


class ReplayRefused(RuleViolation):
    """What was asked for cannot be heard again here."""

    code: ClassVar[str] = "replay_refused"
    title: ClassVar[str] = "This cannot be replayed"


@dataclass(frozen=True, slots=True)
class AskReplay:
    """From where: an offset, or what was published at or after `since` by the wall, or else everything kept.

    `topic` None means all that the group hears, `partition` None all of the topic's.
    """

    topic: str | None = None
    partition: int | None = None
    from_offset: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReplayedPartition:
    """What is heard again of one partition: from `from_offset` up to where the group stood, `until_offset`.

    `is_earliest_kept`: what was asked for begins earlier, and is not on the bus any more. `position` is the offset
    that the group handles next; None when nobody looked.
    """

    topic: str
    partition: int
    from_offset: int
    until_offset: int
    is_earliest_kept: bool
    begun_at: datetime | None = None
    done_at: datetime | None = None
    position: int | None = None

    @property
    def status(self) -> ReplayStatus:
        if self.done_at is not None or self.from_offset >= self.until_offset:
            return "done"
        return "waiting" if self.begun_at is None else "replaying"

    @property
    def messages_left(self) -> int:
        begins = self.from_offset if self.begun_at is None or self.position is None else self.position
        return 0 if self.status == "done" else max(self.until_offset - begins, 0)


@dataclass(frozen=True, slots=True)
class Replay:
    id: str
    asked: AskReplay
    asked_by: str
    asked_at: datetime
    partitions: tuple[ReplayedPartition, ...]

    @property
    def status(self) -> ReplayStatus:
        states = {partition.status for partition in self.partitions}
        if states <= {"done"}:
            return "done"
        return "waiting" if states <= {"waiting", "done"} else "replaying"

    @property
    def messages_left(self) -> int:
        return sum(partition.messages_left for partition in self.partitions)


class Replays:
    """The replays of one handler group, for the operators' routes."""

    def __init__(self, *, bus: Bus, group: str, topics: Sequence[str]) -> None:
        self._bus, self._group, self._topics = bus, group, tuple(topics)

    async def ask(self, asked: AskReplay, *, uow: UnitOfWork) -> Replay:
        """Note what is to be heard again; consumers look at it each second. Raises: ReplayRefused, BusUnavailable."""
        partitions = await self._plan(asked)
        id = new_id("rpl")
        request, part = uow.machinery.replay_request, uow.machinery.replay_partition
        row = {
            "id": id,
            "handler": self._group,
            "topic": asked.topic,
            "partition": asked.partition,
            "from_offset": asked.from_offset,
            "since": asked.since,
            "asked_by": uow.actor,
        }
        stored = insert(request).values(row).returning(request.c.asked_at)
        asked_at = (await uow.connection.execute(stored)).scalar_one()
        rows = [
            {
                "replay_id": id,
                "topic": one.topic,
                "partition": one.partition,
                "from_offset": one.from_offset,
                "until_offset": one.until_offset,
                "is_earliest_kept": one.is_earliest_kept,
                "done_at": asked_at if one.status == "done" else None,
            }
            for one in partitions
        ]
        if rows:
            await uow.connection.execute(insert(part), rows)
        uow.record("replay.asked", id)
        return Replay(id, asked, uow.actor, asked_at, tuple(partitions))

    async def _plan(self, asked: AskReplay) -> list[ReplayedPartition]:
        if asked.from_offset is not None and asked.since is not None:
            raise ReplayRefused(
                "a replay begins at an offset or at an instant",
                pointer="/since",
                remedy="Leave one of the two out.",
            )
        if asked.partition is not None and asked.topic is None:
            raise ReplayRefused(
                "a partition is one of a topic", pointer="/topic", remedy="Name the topic, too."
            )
        if asked.topic is not None and asked.topic not in self._topics:
            raise ReplayRefused(
                "this service does not hear the topic",
                pointer="/topic",
                remedy=f"It hears {', '.join(self._topics)}.",
                topic=asked.topic,
            )
        topics = self._topics if asked.topic is None else (asked.topic,)
        return [one for topic in topics for one in await self._plan_topic(topic, asked)]

    async def _plan_topic(self, topic: str, asked: AskReplay) -> list[ReplayedPartition]:
        begins = await self._bus.begin_offsets(topic)
        if asked.partition is not None and asked.partition not in begins:
            raise ReplayRefused(
                "the topic has no such partition",
                pointer="/partition",
                remedy=f"It has {len(begins)}, counted from 0.",
                partition=asked.partition,
            )
        handled = await self._bus.committed(self._group, topic)
        since = {} if asked.since is None else await self._bus.offsets_at(topic, asked.since)
        partitions = sorted(begins) if asked.partition is None else [asked.partition]
        return [
            self._plan_partition(
                topic,
                partition,
                wanted=since[partition] if asked.since is not None else asked.from_offset or 0,
                earliest=begins[partition],
                handled=handled.get(partition, 0),
                asked=asked,
            )
            for partition in partitions
        ]

    def _plan_partition(
        self, topic: str, partition: int, *, wanted: int, earliest: int, handled: int, asked: AskReplay
    ) -> ReplayedPartition:
        """A partition in which the group has not come that far has nothing to hear again. Named, it is an error."""
        if asked.partition is not None and asked.from_offset is not None and wanted > handled:
            raise ReplayRefused(
                "a replay goes back, and the group has not come that far",
                pointer="/from_offset",
                remedy=f"It handles offset {handled} next; begin before that.",
                from_offset=wanted,
            )
        begin = max(wanted, earliest)
        return ReplayedPartition(
            topic=topic,
            partition=partition,
            from_offset=min(begin, handled),
            until_offset=handled,
            # What was published since an instant may begin where the bus begins: then nobody knows what came before.
            is_earliest_kept=begin == earliest > 0,
        )

    async def get(self, replay_id: str, *, uow: UnitOfWork) -> Replay:
        """With where the group stands now. Raises: ReplayNotFound, BusUnavailable."""
        table = uow.machinery.replay_request
        wanted = select(table).where(table.c.handler == self._group, table.c.id == replay_id)
        row = (await uow.connection.execute(wanted)).mappings().first()
        if row is None:
            raise ReplayNotFound("no replay has this id", replay_id=replay_id)
        return (await self._complete([row], uow))[0]

    async def list(self, page: PageRequest, *, uow: UnitOfWork) -> Slice[Replay]:
        """Oldest first."""
        table = uow.machinery.replay_request
        rows = await fetch_page(
            uow.connection,
            select(table).where(table.c.handler == self._group),
            created_at=table.c.asked_at,
            id=table.c.id,
            page=page,
            to_view=lambda row: row,
        )
        return Slice(items=tuple(await self._complete(rows.items, uow)), next=rows.next)

    async def _complete(self, requests: Sequence[RowMapping], uow: UnitOfWork) -> Sequence[Replay]:
        part = uow.machinery.replay_partition
        wanted = select(part).where(part.c.replay_id.in_([row["id"] for row in requests]))
        found = await uow.connection.execute(
            wanted.order_by(part.c.replay_id, part.c.topic, part.c.partition)
        )
        rows = found.mappings().all()
        positions = await self._positions(row["topic"] for row in rows if row["done_at"] is None)
        return [
            Replay(
                id=request["id"],
                asked=AskReplay(
                    request["topic"], request["partition"], request["from_offset"], request["since"]
                ),
                asked_by=request["asked_by"],
                asked_at=request["asked_at"],
                partitions=tuple(
                    ReplayedPartition(
                        **{name: row[name] for name in _STORED},
                        position=positions.get(row["topic"], {}).get(row["partition"]),
                    )
                    for row in rows
                    if row["replay_id"] == request["id"]
                ),
            )
            for request in requests
        ]

    async def _positions(self, topics: Iterable[str]) -> Mapping[str, Mapping[int, int]]:
        return {topic: await self._bus.committed(self._group, topic) for topic in sorted(set(topics))}


_STORED = ("topic", "partition", "from_offset", "until_offset", "is_earliest_kept", "begun_at", "done_at")

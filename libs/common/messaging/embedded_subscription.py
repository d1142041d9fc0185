"""One member of a group on the embedded bus: owns partitions by advisory locks, reads on, commits offsets.

Everything happens on one connection outside any pool: the locks, the reading, the commits, the notices. So
owning and being able to act are the same thing. When the connection goes, whatever the reason, the locks go
with it, and a commit that comes too late has nothing to run on. There is no lease to expire and no clock to
be wrong.

Who gets what: the first member of a group takes every free partition, and keeps it; the others look again
each second, and take over what is freed. Nothing is shared out evenly: on one machine a second member is
there to take over, not to help. A partition never starves (some member holds it, or takes it within a
second), and a member takes its partitions in turn, so that a long backlog in one does not hold up the others;
but a member may well wait idle for as long as another lives. Groups that should work in parallel on one topic
belong on Kafka.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import asyncpg

from libs.common.messaging.bus import BusUnavailable, Delivery
from libs.common.persistence.outage import is_outage

log = logging.getLogger(__name__)

CHANNEL = "perennial_bus"
LOOK_S = 1.0
CLOSE_TIMEOUT_S = 2.0

Place = tuple[str, int]  # topic, partition
Range = tuple[int, int]  # offsets: the first, and the one past the last

_SESSION = {
    "jit": "off",
    # An offset lost in a crash of the server is a record received twice, which an inbox expects: no need to
    # wait for the disk. And each read is a few short ranges of the primary key, whatever the statistics say.
    "synchronous_commit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
_PARTITIONS = "SELECT topic, partition FROM bus_partition WHERE topic = ANY($1::text[]) ORDER BY 1, 2"
_TRY_LOCKS = "SELECT key, pg_try_advisory_lock(key) AS owned FROM unnest($1::bigint[]) AS key"
# The first record still there, or the end: a group that comes after some were trimmed has nothing to wait
# for.
_BEGINNINGS = """
    SELECT p.topic, p.partition, o."offset" AS committed,
           coalesce(
               (SELECT r."offset" FROM bus_record r WHERE r.topic = p.topic AND r.partition = p.partition
                ORDER BY r."offset" LIMIT 1),
               p.next
           ) AS earliest
    FROM unnest($2::text[], $3::integer[]) AS w(topic, partition)
    JOIN bus_partition p ON p.topic = w.topic AND p.partition = w.partition
    LEFT JOIN bus_offset o ON o."group" = $1 AND o.topic = p.topic AND o.partition = p.partition
"""
_COMMIT = """
    INSERT INTO bus_offset ("group", topic, partition, "offset")
    SELECT $1, w.* FROM unnest($2::text[], $3::integer[], $4::bigint[]) AS w
    ON CONFLICT ("group", topic, partition) DO UPDATE SET "offset" = excluded."offset"
"""
_ENDS = """
    SELECT p.topic, p.partition, p.next
    FROM unnest($1::text[], $2::integer[]) AS w(topic, partition)
    JOIN bus_partition p ON p.topic = w.topic AND p.partition = w.partition
"""
_READ = """
    SELECT r.topic, r.partition, r."offset", r.key, r.headers, r.value
    FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS w(topic, partition, first, past)
    JOIN bus_record r ON r.topic = w.topic AND r.partition = w.partition
        AND r."offset" >= w.first AND r."offset" < w.past
"""


class EmbeddedSubscription:
    """See above. Calls take turns on the connection, so a poll that waits for news holds up nobody."""

    def __init__(
        self,
        *,
        dsn: str,
        group: str,
        topics: Sequence[str],
        application_name: str,
        connect_timeout_s: float,
        statement_timeout_s: float,
    ) -> None:
        self._dsn, self._group, self._topics = dsn, group, sorted(set(topics))
        self._application_name = application_name
        self._connect_timeout_s, self._statement_timeout_s = connect_timeout_s, statement_timeout_s
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._connection: asyncpg.Connection[Any] | None = None
        self._positions: dict[Place, int] = {}  # of the partitions we own, the next to deliver first in line
        self._all_owned = False
        self._look_at = 0.0

    async def __aenter__(self) -> Self:
        try:
            async with self._session() as connection:
                await self._take_free_partitions(connection)
        except BaseException:  # canceled too: nobody leaves what was never entered, and its locks would stay
            self._forget()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the partitions back at once, for whoever waits; if that fails, the server sees to it."""
        connection = self._connection
        try:
            if connection is not None and not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock_all()", timeout=CLOSE_TIMEOUT_S)
        except Exception as failure:
            log.info("the bus was left in a hurry", extra={"group": self._group, "error": repr(failure)})
        finally:
            self._forget()

    async def poll(self, *, records_max: int, timeout_s: float) -> list[Delivery]:
        """What is waiting in our partitions; waits for a notice, and looks by itself each second.

        After a lost connection it begins again, in what it then owns, at what was committed.
        Raises: BusUnavailable.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        while True:
            self._news.clear()
            async with self._session() as connection:
                await self._take_free_partitions(connection)
                deliveries = await self._read(connection, records_max)
            left_s = deadline - clock()
            if deliveries or left_s <= 0:
                return deliveries
            await self._wait_for_news(min(left_s, LOOK_S))

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Commit, on the connection that holds the locks: whoever has lost them has also lost the pen.

        Raises: BusUnavailable.
        """
        async with self._turn:
            ends = self._committable(deliveries)
            if not ends or self._connection is None:
                return
            with self._outages_told():
                await self._commit(self._connection, ends)

    async def seek(self, topic: str, partition: int, offset: int) -> bool:
        async with self._turn:
            ours = (topic, partition) in self._positions
            if ours:
                self._positions[topic, partition] = offset
                self._news.set()
        return ours

    def owned(self) -> frozenset[Place]:
        return frozenset(self._positions)

    async def keep_alive(self) -> None:
        """A round trip: whatever stands between us and the server sees that the connection is in use."""
        async with self._turn:
            if self._connection is None:
                return
            with suppress(BusUnavailable), self._outages_told():
                await self._connection.execute("SELECT 1")

    # The connection

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Our turn on the connection, made anew if it was lost."""
        async with self._turn:
            with self._outages_told():
                if self._connection is None or self._connection.is_closed():
                    self._forget()
                    self._connection = await self._connect()
                yield self._connection

    async def _connect(self) -> asyncpg.Connection[Any]:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            self._dsn,
            timeout=self._connect_timeout_s,
            command_timeout=self._statement_timeout_s,
            server_settings={**_SESSION, "application_name": self._application_name},
        )
        try:
            connection.add_termination_listener(self._on_notice)
            await connection.add_listener(CHANNEL, self._on_notice)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _on_notice(self, *notice: Any) -> None:
        """A record of one of our topics is there, or the connection has gone; the poll finds out which."""
        if len(notice) < 4 or notice[3] in self._topics:
            self._news.set()

    @contextmanager
    def _outages_told(self) -> Iterator[None]:
        """After an outage nothing is ours any more, whether or not the server has noticed."""
        try:
            yield
        except Exception as error:
            if not is_outage(error):
                raise
            self._forget()
            cause = type(error).__name__
            raise BusUnavailable(
                "the bus database does not answer", group=self._group, cause=cause
            ) from error

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        if self._positions:
            log.info("partitions given up", extra={"group": self._group, "partitions": len(self._positions)})
        self._connection = None
        self._positions = {}
        self._all_owned = False
        self._look_at = 0.0

    async def _wait_for_news(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    # Ownership

    async def _take_free_partitions(self, connection: asyncpg.Connection[Any]) -> None:
        """Lock what nobody holds, at most once a second, until we hold all there is."""
        now = asyncio.get_running_loop().time()
        if self._all_owned or now < self._look_at:
            return
        self._look_at = now + LOOK_S
        rows = await connection.fetch(_PARTITIONS, self._topics)
        existing = [(row["topic"], row["partition"]) for row in rows]
        locks = {_lock_key(self._group, place): place for place in existing if place not in self._positions}
        if locks:
            answers = await connection.fetch(_TRY_LOCKS, list(locks))
            await self._begin(connection, [locks[row["key"]] for row in answers if row["owned"]])
        all_exist = {topic for topic, _ in existing} == set(self._topics)
        self._all_owned = all_exist and len(self._positions) == len(existing)

    async def _begin(self, connection: asyncpg.Connection[Any], places: Sequence[Place]) -> None:
        """Start where the last owner ended. A first beginning is noted: what follows it is not trimmed."""
        if not places:
            return
        rows = await connection.fetch(_BEGINNINGS, self._group, *_columns(places))
        committed = {(row["topic"], row["partition"]): row["committed"] for row in rows}
        begin = {
            (row["topic"], row["partition"]): max(row["committed"] or 0, row["earliest"]) for row in rows
        }
        moved = {place: offset for place, offset in begin.items() if offset != committed[place]}
        if moved:
            await self._commit(connection, moved)
        self._positions.update(begin)
        log.info("partitions taken", extra={"group": self._group, "partitions": len(begin)})

    def _committable(self, deliveries: Sequence[Delivery]) -> dict[Place, int]:
        """Partition → offset to commit, without those that are not ours, or not ours any more.

        An end beyond our position was delivered before the partition was lost and taken again, or before a
        seek: the records in between come again, so they are not done.
        """
        ends: dict[Place, int] = {}
        for delivery in deliveries:
            place = (delivery.topic, delivery.partition)
            ends[place] = max(ends.get(place, 0), delivery.offset + 1)
        ours = {} if self._connection is None or self._connection.is_closed() else self._positions
        kept = {place: end for place, end in ends.items() if place in ours and end <= ours[place]}
        if len(kept) < len(ends):
            log.warning(
                "acknowledgement of partitions that are not ours is left out",
                extra={"group": self._group, "partitions": sorted(ends.keys() - kept.keys())},
            )
        return kept

    async def _commit(self, connection: asyncpg.Connection[Any], ends: dict[Place, int]) -> None:
        await connection.execute(_COMMIT, self._group, *_columns(list(ends)), list(ends.values()))

    # Reading

    async def _read(self, connection: asyncpg.Connection[Any], records_max: int) -> list[Delivery]:
        """Offsets have no gaps, so the counters say which ranges to read, and the ranges say it exactly.

        A short range is one whose beginning was trimmed, after a `seek` far back.
        """
        ranges = await self._ranges(connection, records_max)
        if not ranges:
            return []
        firsts, pasts = [first for first, _ in ranges.values()], [past for _, past in ranges.values()]
        rows = await connection.fetch(_READ, *_columns(list(ranges)), firsts, pasts)
        for place, (_, past) in ranges.items():
            del self._positions[place]  # to the end of the line: the next poll begins with the others
            self._positions[place] = past
        return sorted((_delivery(row) for row in rows), key=lambda d: (d.topic, d.partition, d.offset))

    async def _ranges(self, connection: asyncpg.Connection[Any], records_max: int) -> dict[Place, Range]:
        """What to read from which partition, first come first served, at most `records_max` together."""
        if not self._positions:
            return {}
        rows = await connection.fetch(_ENDS, *_columns(list(self._positions)))
        ends = {(row["topic"], row["partition"]): row["next"] for row in rows}
        ranges: dict[Place, Range] = {}
        room = records_max
        for place, first in self._positions.items():
            past = min(ends.get(place, first), first + room)
            if past > first:
                ranges[place] = (first, past)
                room -= past - first
        return ranges


def _columns(places: Sequence[Place]) -> tuple[list[str], list[int]]:
    return [topic for topic, _ in places], [partition for _, partition in places]


def _lock_key(group: str, place: Place) -> int:
    """64 bits of (group, topic, partition). In a database of its own, no other locks are in the way."""
    name = json.dumps([group, *place]).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big", signed=True)


def _delivery(row: asyncpg.Record) -> Delivery:
    return Delivery(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        key=row["key"],
        headers=json.loads(row["headers"]),
        value=row["value"],
    )

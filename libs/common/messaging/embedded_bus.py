"""The bus port over PostgreSQL tables: durable, gap-free offsets, for deployments of one machine.

A publisher takes its offsets from a counter row for each partition. The row stays locked until its
transaction ends, so offsets are given in the order of commits: a reader that has seen offset n has seen
everything before it, and what is rolled back leaves no gap. Counters are locked in sorted order, so
publishers never wait for each other in a circle. One statement does it all, so that the counters stay locked
for one commit and not for a conversation.

What follows from that: commits to one partition follow one another. Publish in batches.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg

from libs.common.contracts.topics import MESSAGE_BYTES_MAX, Topic
from libs.common.messaging.bus import BusUnavailable, Record, RecordTooLarge, UnknownTopic
from libs.common.messaging.embedded_subscription import CHANNEL, EmbeddedSubscription
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import asyncpg_dsn

CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
TRIM_RECORDS_MAX = 10_000

_ENSURE_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('perennial_bus_topics', 0))"
_ENSURE = """
    INSERT INTO bus_partition (topic, partition)
    SELECT wanted.topic, number
    FROM unnest($1::text[], $2::integer[]) AS wanted(topic, partitions),
         generate_series(0, wanted.partitions - 1) AS number
    WHERE NOT EXISTS (SELECT FROM bus_partition p WHERE p.topic = wanted.topic)
"""
_PARTITION_COUNTS = "SELECT topic, count(*) AS partitions FROM bus_partition GROUP BY topic"
_PUBLISH = f"""
    WITH sent AS (
        SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::jsonb[], $5::bytea[])
        WITH ORDINALITY AS s(topic, partition, key, headers, value, place)
    ), wanted AS (
        SELECT topic, partition, count(*) AS records FROM sent GROUP BY topic, partition
    ), locked AS MATERIALIZED (
        SELECT p.topic, p.partition, w.records
        FROM bus_partition p JOIN wanted w ON w.topic = p.topic AND w.partition = p.partition
        ORDER BY p.topic, p.partition
        FOR UPDATE OF p
    ), taken AS (
        UPDATE bus_partition p SET next = p.next + l.records FROM locked l
        WHERE p.topic = l.topic AND p.partition = l.partition
        RETURNING p.topic, p.partition, p.next - l.records AS first
    ), stored AS (
        INSERT INTO bus_record (topic, partition, "offset", key, headers, value)
        SELECT s.topic, s.partition,
               t.first + row_number() OVER (PARTITION BY s.topic, s.partition ORDER BY s.place) - 1,
               s.key, s.headers, s.value
        FROM sent s JOIN taken t ON t.topic = s.topic AND t.partition = s.partition
        RETURNING topic
    ), told AS MATERIALIZED (
        SELECT pg_notify('{CHANNEL}', topic) FROM (SELECT DISTINCT topic FROM taken) AS topics
    )
    SELECT (SELECT count(*) FROM stored) AS stored, (SELECT count(*) FROM told) AS told
"""
_END_OFFSETS = "SELECT partition, next FROM bus_partition WHERE topic = $1 ORDER BY partition"
_BEGIN_OFFSETS = """
    SELECT p.partition, coalesce(
        (SELECT r."offset" FROM bus_record r WHERE r.topic = p.topic AND r.partition = p.partition
         ORDER BY r."offset" LIMIT 1),
        p.next
    ) AS "offset"
    FROM bus_partition p WHERE p.topic = $1 ORDER BY p.partition
"""
_OFFSETS_AT = """
    SELECT p.partition, coalesce(
        (SELECT r."offset" FROM bus_record r
         WHERE r.topic = p.topic AND r.partition = p.partition AND r.at >= $2
         ORDER BY r."offset" LIMIT 1),
        p.next
    ) AS "offset"
    FROM bus_partition p WHERE p.topic = $1 ORDER BY p.partition
"""
_COMMITTED = """
    SELECT p.partition, coalesce(o."offset", 0) AS "offset"
    FROM bus_partition p
    LEFT JOIN bus_offset o ON o."group" = $1 AND o.topic = p.topic AND o.partition = p.partition
    WHERE p.topic = $2 ORDER BY p.partition
"""
# A group that has owned some partition of a topic, but not yet this one, holds all of this one back.
_BEHIND_EVERY_GROUP = """
    SELECT p.topic, p.partition,
           coalesce(min(coalesce(o."offset", 0)) FILTER (WHERE g."group" IS NOT NULL), p.next) AS "offset"
    FROM bus_partition p
    LEFT JOIN (SELECT DISTINCT "group", topic FROM bus_offset) g ON g.topic = p.topic
    LEFT JOIN bus_offset o ON o."group" = g."group" AND o.topic = p.topic AND o.partition = p.partition
    GROUP BY p.topic, p.partition, p.next ORDER BY p.topic, p.partition
"""
_TRIM = f"""
    DELETE FROM bus_record WHERE topic = $1 AND partition = $2 AND "offset" <= (
        SELECT max("offset") FROM (
            SELECT "offset", at FROM bus_record WHERE topic = $1 AND partition = $2 AND "offset" < $3
            ORDER BY "offset" LIMIT {TRIM_RECORDS_MAX}
        ) AS oldest WHERE at < $4
    )
"""


class EmbeddedBus:
    """One for a process. `dsn` is SQLAlchemy's address of the bus database; see `bus_migrations` for its
    tables.

    The address must lead to the server itself: a pooler that shares sessions would share the locks as well.
    """

    def __init__(self, dsn: str, *, pool_size: int = 4, application_name: str = "perennial-bus") -> None:
        self._dsn = asyncpg_dsn(dsn)
        self._pool_size = pool_size
        self._application_name = application_name
        self._opening = asyncio.Lock()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._partitions: dict[str, int] = {}

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Make those that are missing. An existing one keeps its partitions: keys stay where they are.

        How long records are kept, and how large they may be, is the same for all topics of this bus.
        """
        async with self._connection() as connection, connection.transaction():
            await connection.execute(_ENSURE_LOCK)
            await connection.execute(
                _ENSURE, [topic.name for topic in topics], [topic.partitions for topic in topics]
            )

    async def publish(self, records: Sequence[Record]) -> None:
        """Store the records in one transaction, and wake the subscriptions.

        Raises: BusUnavailable; UnknownTopic; RecordTooLarge.
        """
        if not records:
            return
        if too_large := [n for n, record in enumerate(records) if len(record.value) > MESSAGE_BYTES_MAX]:
            raise RecordTooLarge(
                "the bus takes no such long values", positions=too_large, bytes_max=MESSAGE_BYTES_MAX
            )
        async with self._connection() as connection:
            await self._learn_partitions(connection, {record.topic for record in records})
            done = await connection.fetchrow(
                _PUBLISH,
                [record.topic for record in records],
                [self._partition(record) for record in records],
                [record.key for record in records],
                [json.dumps(dict(record.headers), ensure_ascii=False) for record in records],
                [record.value for record in records],
            )
        if done is None or done["stored"] != len(records):  # tables made anew under a running process
            self._partitions.clear()
            raise BusUnavailable("some partitions are gone", remedy="Publish again.")

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> EmbeddedSubscription:
        return EmbeddedSubscription(
            dsn=self._dsn,
            group=group,
            topics=topics,
            application_name=f"{self._application_name} {group} {member}"[:63],
            connect_timeout_s=CONNECT_TIMEOUT_S,
            statement_timeout_s=STATEMENT_TIMEOUT_S,
        )

    async def end_offsets(self, topic: str) -> dict[int, int]:
        async with self._connection() as connection:
            rows = await connection.fetch(_END_OFFSETS, topic)
        return {row["partition"]: row["next"] for row in rows}

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        async with self._connection() as connection:
            rows = await connection.fetch(_BEGIN_OFFSETS, topic)
        return {row["partition"]: row["offset"] for row in rows}

    async def offsets_at(self, topic: str, instant: datetime) -> dict[int, int]:
        """By the server's clock when the record was stored. It reads each partition up to there."""
        async with self._connection() as connection:
            rows = await connection.fetch(_OFFSETS_AT, topic, instant)
        return {row["partition"]: row["offset"] for row in rows}

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        async with self._connection() as connection:
            rows = await connection.fetch(_COMMITTED, group, topic)
        return {row["partition"]: row["offset"] for row in rows}

    async def trim(self, older_than: datetime) -> int:
        """Delete records from before that instant which every group of their topic has handled; returns how
        many.

        A topic that no group has ever read is trimmed by age alone. The counters stay: no offset is given
        twice.
        """
        deleted = 0
        async with self._connection() as connection:
            for row in await connection.fetch(_BEHIND_EVERY_GROUP):
                place = (row["topic"], row["partition"])
                while True:  # ends: each round deletes, or is the last
                    status = await connection.execute(_TRIM, *place, row["offset"], older_than)
                    count = int(status.split()[-1])
                    deleted += count
                    if count < TRIM_RECORDS_MAX:
                        break
        return deleted

    async def close(self) -> None:
        """Close the pool. Subscriptions have their own connections, and are left by whoever entered them."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await pool.close()
        except Exception:
            pool.terminate()

    def _partition(self, record: Record) -> int:
        if record.partition is not None:
            return record.partition
        return zlib.crc32(record.key.encode()) % self._partitions[record.topic]

    async def _learn_partitions(self, connection: Any, topics: set[str]) -> None:
        """Numbers of partitions never change, so they are read once."""
        if topics <= self._partitions.keys():
            return
        rows = await connection.fetch(_PARTITION_COUNTS)
        self._partitions = {row["topic"]: row["partitions"] for row in rows}
        if unknown := topics - self._partitions.keys():
            raise UnknownTopic(
                "nobody has made this topic", remedy="Call ensure_topics first.", topics=sorted(unknown)
            )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """One of the pool's connections; an outage while it is used becomes BusUnavailable."""
        try:
            pool = await self._open_pool()
            async with pool.acquire() as connection:
                yield connection
        except Exception as error:
            if isinstance(error, BusUnavailable) or not is_outage(error):
                raise
            raise BusUnavailable("the bus database does not answer", cause=type(error).__name__) from error

    async def _open_pool(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._dsn,
                    min_size=0,
                    max_size=self._pool_size,
                    timeout=CONNECT_TIMEOUT_S,
                    command_timeout=STATEMENT_TIMEOUT_S,
                    server_settings={"application_name": self._application_name, "jit": "off"},
                    reset=_leave_as_it_is,
                )
            return self._pool


async def _leave_as_it_is(connection: object) -> None:
    """Our statements leave nothing behind in a session, so returning one to the pool costs no round trip."""

"""How far the usage topic is stored: one row for each partition, changed in the transaction that stores.

Whoever wants to store locks the rows first, compares, and sets them: a worker that read from elsewhere than the
row says has lost its partition, or was handed records a second time, and rolls back. The groups' offsets on the
bus are a hint only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from libs.common.contracts import group_of
from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.persistence.base import raw
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.domain.usage_window import Offsets

USAGE_GROUP = f"{group_of('metering')}.usage"

_BEGIN = """
    INSERT INTO usage_offset (topic, partition, next_offset)
    SELECT $1, partition, 0 FROM unnest($2::integer[]) AS partition
    ON CONFLICT DO NOTHING
"""
_STORED = "SELECT partition, next_offset FROM usage_offset WHERE topic = $1"
# Locked in one order everywhere: two workers that both believe to own what the other does wait, and do not deadlock.
_LOCK = """
    SELECT partition, next_offset FROM usage_offset
    WHERE topic = $1 AND partition = ANY($2::integer[]) ORDER BY partition FOR UPDATE
"""
_MOVE = """
    UPDATE usage_offset o SET next_offset = g.next_offset
    FROM unnest($2::integer[], $3::bigint[]) AS g(partition, next_offset)
    WHERE o.topic = $1 AND o.partition = g.partition
"""


class UsageOffsets:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def stored(self) -> Offsets:
        driver = await raw(self._uow.connection)
        return {row["partition"]: row["next_offset"] for row in await driver.fetch(_STORED, USAGE_TOPIC)}

    async def begin(self, partitions: Collection[int]) -> None:
        """Partitions that nobody has read yet begin at their first record."""
        await (await raw(self._uow.connection)).execute(_BEGIN, USAGE_TOPIC, sorted(partitions))

    async def lock(self, partitions: Collection[int]) -> Offsets:
        """The rows, kept until the transaction ends."""
        driver = await raw(self._uow.connection)
        rows = await driver.fetch(_LOCK, USAGE_TOPIC, sorted(partitions))
        return {row["partition"]: row["next_offset"] for row in rows}

    async def move(self, nexts: Mapping[int, int]) -> None:
        driver = await raw(self._uow.connection)
        await driver.execute(_MOVE, USAGE_TOPIC, list(nexts), list(nexts.values()))

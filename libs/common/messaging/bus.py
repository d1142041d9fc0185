"""The bus as the services see it: publish a batch, poll a batch, acknowledge it. Every transport keeps it.

What every transport promises (tests/integration/transport says it once, for all of them):

- A record is published when `publish` returns, and survives whatever dies afterwards.
- Records of one key are delivered in the order in which they were published; their offsets have no gaps.
- Delivery is at least once. What was not acknowledged comes again, after a restart or from another member.
- A partition has one owner in a group at a time; when the owner dies, another member takes over.
- An outage raises BusUnavailable and loses nothing. The next call connects again by itself; the caller
  pauses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import ClassVar, Protocol, Self

from libs.common.contracts.topics import Topic
from libs.common.errors import ServiceError, TransientError


class BusUnavailable(TransientError):
    """The bus cannot be reached, or went away half-way.

    What was being published may or may not be there: publish it again, readers know it by its id.
    """

    code: ClassVar[str] = "bus_unavailable"
    title: ClassVar[str] = "The message bus is unavailable"


class UnknownTopic(ServiceError):
    """A record for a topic that nobody has made: a mistake in how the deployment was put together."""

    code: ClassVar[str] = "unknown_topic"
    title: ClassVar[str] = "No such topic"


class RecordTooLarge(ServiceError):
    """The transport does not take records of that size.

    `positions` says which, as indexes into what was to be published. None of those is there; of the others,
    some may be: publish them again without these.
    """

    code: ClassVar[str] = "record_too_large"
    title: ClassVar[str] = "The record is too large"

    def __init__(self, message: str, *, positions: Collection[int], **facts: object) -> None:
        remedy = "Raise max.message.bytes of the topic, or let the record say less."
        super().__init__(message, remedy=remedy, pointer=None, positions=sorted(positions), **facts)
        self.positions = frozenset(positions)


@dataclass(frozen=True, slots=True)
class Record:
    """One message to publish. Records of one key share a partition, and so their order.

    Whoever names the partition himself sees to that: then the key only tells what it is about.
    """

    topic: str
    key: str
    headers: Mapping[str, str]
    value: bytes
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as a group receives it. (topic, partition, offset) is its place, and never another's."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: Mapping[str, str]
    value: bytes


class Subscription(Protocol):
    """One member of a group. Its partitions are its own for as long as the transport can vouch for that."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def poll(self, *, records_max: int, timeout_s: float) -> list[Delivery]:
        """What is waiting, at most `records_max`; returns as soon as there is something, or empty in the end.

        A second poll goes on where the first ended, acknowledged or not.
        Raises: BusUnavailable.
        """
        ...

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """These and all before them are done: highest offset + 1 of each partition is committed.

        What this member no longer owns is left out, without an error: whoever owns it now receives it again,
        and its inbox knows it. So is what lies beyond the place this member has read to (after a `seek`
        back).
        Raises: BusUnavailable; the same deliveries will then come again.
        """
        ...

    async def seek(self, topic: str, partition: int, offset: int) -> bool:
        """The next poll of this partition begins at `offset`. False, and no effect, unless it is ours."""
        ...

    def owned(self) -> frozenset[tuple[str, int]]:
        """The (topic, partition)s that are ours now, as far as this member knows."""
        ...

    async def keep_alive(self) -> None:
        """For now and then, while the caller waits out an outage: what is ours stays ours, nothing is
        delivered.

        Never raises for an outage of the bus itself; the next poll sees to that.
        """
        ...


class Bus(Protocol):
    """The transport of one deployment; one for a process, used by all its tasks."""

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Make the topics that are missing; existing ones stay as they are, their partitions above all."""
        ...

    async def publish(self, records: Sequence[Record]) -> None:
        """Durable when it returns; order kept per key.

        Raises: BusUnavailable; UnknownTopic; RecordTooLarge.
        """
        ...

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> Subscription:
        """A member of `group`, connected on entering it. `member` is its name, and stays over a restart."""
        ...

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset that the next record of each partition will get."""
        ...

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        """The offset of the earliest record that each partition still keeps; the end where it keeps none."""
        ...

    async def offsets_at(self, topic: str, instant: datetime) -> dict[int, int]:
        """The offset of each partition's first record published at or after `instant`; the end if none was."""
        ...

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The offset that the group handles next, for each partition; 0 where it has begun nothing."""
        ...

    async def close(self) -> None: ...

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Protocol, Self

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


@dataclass(frozen=True, slots=True)
class Record:
    """One message to publish. Records of one key share a partition, and so their order."""

    topic: str
    key: str
    headers: Mapping[str, str]
    value: bytes


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

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """The next poll of this partition begins at `offset`. Without effect unless the partition is ours."""
        ...

    async def keep_alive(self) -> None:
        """For now and then, while the caller waits out an outage: what is ours stays ours, nothing is
        delivered.

        Never raises for an outage of the bus itself; the next poll sees to that.
        """
        ...


class Bus(Protocol):
    """The transport of one deployment; one for a process, used by all its tasks."""

    async def ensure_topics(self, topics: Mapping[str, int]) -> None:
        """Make the topics (name → number of partitions) that are missing; existing ones keep their number."""
        ...

    async def publish(self, records: Sequence[Record]) -> None:
        """Durable when it returns; order kept per key.

        Raises: BusUnavailable; UnknownTopic.
        """
        ...

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> Subscription:
        """A member of `group`, connected on entering it. `member` is its name, and stays over a restart."""
        ...

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset that the next record of each partition will get."""
        ...

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The offset that the group handles next, for each partition; 0 where it has begun nothing."""
        ...

    async def close(self) -> None: ...

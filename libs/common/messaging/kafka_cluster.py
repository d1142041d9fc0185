"""What can be asked of a Kafka cluster, and its topics: one connection for questions, made when the first comes."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NoError,
    NotControllerError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest

from libs.common.contracts.topics import Topic
from libs.common.messaging.bus import BusUnavailable, UnknownTopic

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 2.0
TOPICS_TIMEOUT_S = 60.0  # a broker makes a dozen files for each partition
RETRY_BACKOFF_MS = 100
_TOPIC_LOOKS = 8
_BROKERS_DEFAULT = -1
_EARLIEST, _LATEST = -2, -1
_READ_UNCOMMITTED = 0
_NO_OFFSET = _NO_LEADER = _CLIENT = -1

T = TypeVar("T")

# It tries again by itself, and says so ten times a second; what comes of it is told by BusUnavailable.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@asynccontextmanager
async def outages_told(what: str, *, timeout_s: float) -> AsyncIterator[None]:
    """Whatever keeps Kafka from answering in time becomes BusUnavailable."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (KafkaError, OSError) as error:  # a time-out is an OSError
        raise BusUnavailable(what, cause=repr(error)[:200]) from error


async def find_topics(client: AIOKafkaClient, names: Iterable[str], *, looks: int = 1) -> set[str]:
    """Those of the topics that exist. One that was just made may need a few looks."""
    wanted = set(names)
    for look in range(looks + 1):
        unknown = {name for name in wanted if client.cluster.partitions_for_topic(name) is None}
        if not unknown or look == looks:
            return wanted - unknown
        if look > 1:
            await asyncio.sleep(RETRY_BACKOFF_MS / 1000)
        for name in unknown:
            client.add_topic(name)
        if not await client.force_metadata_update():
            raise KafkaConnectionError("no broker tells which topics there are")
    raise AssertionError("the last look returns")


async def require_topics(client: AIOKafkaClient, names: Iterable[str]) -> None:
    """Raises: UnknownTopic."""
    wanted = set(names)
    if unknown := wanted - await find_topics(client, wanted, looks=_TOPIC_LOOKS):
        raise UnknownTopic(
            "nobody has made this topic", remedy="Call ensure_topics first.", topics=sorted(unknown)
        )


async def close_client(client: AIOKafkaClient) -> None:
    """Close its connections, and wait for nobody."""
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await client.close()


class KafkaCluster:
    """Questions and topics. After an outage it connects again by itself."""

    def __init__(self, bootstrap: str, *, client_id: str, timeout_s: float) -> None:
        self._bootstrap, self._client_id, self._timeout_s = bootstrap, client_id, timeout_s
        self._opening = asyncio.Lock()
        self._connected: AIOKafkaClient | None = None
        self._coordinators: dict[str, int] = {}

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Make those that are missing, and wait until they can be used.

        An existing one keeps what it has: its partitions because keys must stay where they are, the rest
        because an operator may have set it.
        Raises: BusUnavailable.
        """

        async def ensure(client: AIOKafkaClient) -> None:
            existing = await find_topics(client, [topic.name for topic in topics])
            missing = {topic.name: topic for topic in topics if topic.name not in existing}
            if missing:
                await self._create(client, list(missing.values()))
            for topic in topics:
                await require_topics(client, [topic.name])
                await _offsets(client, topic.name, _LATEST)  # their leaders answer

        await self._ask("topics cannot be made", ensure, timeout_s=TOPICS_TIMEOUT_S)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Raises: BusUnavailable."""
        return await self._ask("offsets cannot be read", lambda client: _offsets(client, topic, _LATEST))

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        """Raises: BusUnavailable."""
        return await self._ask("offsets cannot be read", lambda client: _offsets(client, topic, _EARLIEST))

    async def offsets_at(self, topic: str, instant: datetime) -> dict[int, int]:
        """By the broker's clock when it appended the record. Raises: BusUnavailable."""
        instant_ms = max(int(instant.timestamp() * 1000), 0)

        async def search(client: AIOKafkaClient) -> dict[int, int]:
            # The ends first: what is appended in between is then found by its time, and not skipped.
            ends = await _offsets(client, topic, _LATEST)
            found = await _offsets(client, topic, instant_ms)
            return {n: ends[n] if found.get(n, _NO_OFFSET) == _NO_OFFSET else found[n] for n in ends}

        return await self._ask("offsets cannot be read", search)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Raises: BusUnavailable."""

        async def ask(client: AIOKafkaClient) -> dict[int, int]:
            await find_topics(client, [topic])
            partitions = sorted(client.cluster.partitions_for_topic(topic) or ())
            response = await client.send(
                await self._coordinator(client, group),
                OffsetFetchRequest(group, [(topic, partitions)]),
                group=ConnectionGroup.COORDINATION,
            )
            _raise_first([response.error_code, *(code for _, told in response.topics for *_, code in told)])
            offsets = {partition: offset for _, told in response.topics for partition, offset, *_ in told}
            return {partition: max(offsets.get(partition, 0), 0) for partition in partitions}

        return await self._ask("committed offsets cannot be read", ask)

    async def close(self) -> None:
        client, self._connected = self._connected, None
        if client is not None:
            await close_client(client)

    async def _create(self, client: AIOKafkaClient, topics: Sequence[Topic]) -> None:
        request = CreateTopicsRequest(
            [_creation(topic) for topic in topics], timeout=int(self._timeout_s * 1000), validate_only=False
        )
        controller = client.cluster.controller
        if controller is None:
            raise NotControllerError("the cluster has no controller yet")
        response = await client.send(controller.nodeId, request)
        for name, code, message in response.topic_errors:
            error = for_code(code)
            if error not in (NoError, TopicAlreadyExistsError):
                raise error(f"topic {name} was not made: {message}")

    async def _coordinator(self, client: AIOKafkaClient, group: str) -> int:
        """The broker that keeps the group's offsets; asked once."""
        if group not in self._coordinators:
            self._coordinators[group] = await client.coordinator_lookup(CoordinationType.GROUP, group)
        return self._coordinators[group]

    async def _ask(
        self,
        what: str,
        question: Callable[[AIOKafkaClient], Awaitable[T]],
        *,
        timeout_s: float | None = None,
    ) -> T:
        """Ask, again if the cluster is not ready with the answer or one connection was lost.

        Raises: BusUnavailable; the connection is then not used again.
        """
        lost = 0
        try:
            async with outages_told(what, timeout_s=timeout_s or self._timeout_s):
                while True:
                    client = await self._open()
                    try:
                        return await question(client)
                    except KafkaError as error:
                        lost += isinstance(error, (KafkaConnectionError, NodeNotReadyError))
                        if not error.retriable or lost > 1:
                            raise
                    self._coordinators.clear()
                    await asyncio.sleep(RETRY_BACKOFF_MS / 1000)
                    await client.force_metadata_update()
        except BusUnavailable:
            self._coordinators.clear()
            await self.close()
            raise

    async def _open(self) -> AIOKafkaClient:
        async with self._opening:
            if self._connected is None:
                client = AIOKafkaClient(
                    bootstrap_servers=self._bootstrap,
                    client_id=self._client_id,
                    request_timeout_ms=int(self._timeout_s * 1000),
                    retry_backoff_ms=RETRY_BACKOFF_MS,
                )
                try:
                    await client.bootstrap()
                except BaseException:
                    await close_client(client)
                    raise
                self._connected = client
            return self._connected


def _creation(topic: Topic) -> tuple[Any, ...]:
    """Name, partitions, replicas (as many as the cluster is set to), places (its choice), settings.

    Time is that of the broker when it appends, so that retention and searches by time go by one clock.
    """
    settings = {
        "retention.ms": str(int(topic.retention.total_seconds() * 1000)),
        "max.message.bytes": str(topic.message_bytes_max),
        "message.timestamp.type": "LogAppendTime",
    }
    return (topic.name, topic.partitions, _BROKERS_DEFAULT, [], list(settings.items()))


async def _offsets(client: AIOKafkaClient, topic: str, timestamp: int) -> dict[int, int]:
    """The offset of each partition's first record of that time or later; -1 where there is none."""
    await find_topics(client, [topic])
    by_leader: dict[int, list[int]] = defaultdict(list)
    for partition in client.cluster.partitions_for_topic(topic) or ():
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if leader is None or leader == _NO_LEADER:
            raise LeaderNotAvailableError
        by_leader[leader].append(partition)
    answers = await asyncio.gather(
        *(
            client.send(
                leader, OffsetRequest(_CLIENT, _READ_UNCOMMITTED, [(topic, [(n, timestamp) for n in theirs])])
            )
            for leader, theirs in by_leader.items()
        )
    )
    told = sorted(each for answer in answers for _, offsets in answer.topics for each in offsets)
    _raise_first([code for _, code, *_ in told])
    return {partition: offset for partition, _, _, offset in told}


def _raise_first(codes: Iterable[int]) -> None:
    for code in codes:
        if code:
            raise for_code(code)

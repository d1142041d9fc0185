"""One member of a group on Kafka: its partitions are given out by the group, and may move at any time.

All partitions of a group's topics are dealt out to its members in turn. When a member comes, goes or dies, they
are dealt out anew; each partition then goes on at what was committed, so what was delivered and not yet
acknowledged comes again, to whoever owns it now.

An outage ends the connection, not the membership: the next poll joins again under the same name and takes
over its own partitions. Who is killed and not back within the session's time is missed, and the others take
over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
)

from libs.common.messaging.bus import BusUnavailable, Delivery
from libs.common.messaging.kafka_cluster import RETRY_BACKOFF_MS, close_client, require_topics
from libs.common.messaging.kafka_member import StaticMember

log = logging.getLogger(__name__)

HEARTBEATS_PER_SESSION = 10  # a member hears of a change in the group with its next heartbeat
HANDLING_TIMEOUT_S = 300.0  # who neither polls nor keeps alive for so long has hung, and loses its partitions
FETCH_WAIT_MS = 500
_OVERTIME_S = 0.25
_CLOSE_TIMEOUT_S = 3.0

Place = tuple[str, int]  # topic, partition


class _Moves(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells a subscription what is its own, as soon as it changes."""

    def __init__(self, subscription: KafkaSubscription) -> None:
        self._subscription = subscription

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._subscription._on_moved(())

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._subscription._on_moved(assigned)


class KafkaSubscription:
    """See above. `session_s`: how long the group waits for a member that is gone without a word."""

    def __init__(
        self,
        bootstrap: str,
        *,
        group: str,
        topics: Sequence[str],
        member: str,
        client_id: str,
        timeout_s: float,
        session_s: float,
    ) -> None:
        self._bootstrap, self._group, self._topics = bootstrap, group, sorted(set(topics))
        self._member, self._client_id = member, client_id
        self._timeout_s, self._session_s = timeout_s, session_s
        self._joining = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._static: StaticMember | None = None
        self._owned: frozenset[Place] = frozenset()
        self._positions: dict[Place, int] = {}  # of what we have delivered since we own it, the next in line

    async def __aenter__(self) -> Self:
        await self._join()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the group, so that the others take over at once; if that fails, it misses us in time."""
        await self.disconnect(leave=True)

    async def poll(self, *, records_max: int, timeout_s: float) -> list[Delivery]:
        """What is waiting in our partitions; none while the group deals them out anew.

        After an outage it begins again at what was committed.
        Raises: BusUnavailable; UnknownTopic.
        """
        consumer = await self._join()
        async with self._outages_told():
            polled = await self._fetch(consumer, records_max, timeout_s)
            if not polled and not _is_connected(consumer):
                raise KafkaError("all connections are lost")
        deliveries = [_delivery(record) for records in polled.values() for record in records]
        for partition, records in polled.items():
            place = (partition.topic, partition.partition)
            if place in self._owned:
                self._positions[place] = records[-1].offset + 1
            _let_others_go_first(consumer, partition)
        return sorted(deliveries, key=lambda d: (d.topic, d.partition, d.offset))

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Commit. Where the group has moved on by now, whoever owns the partition receives these again.

        Raises: BusUnavailable.
        """
        ends = self._committable(deliveries)
        if not ends or self._consumer is None:
            return
        offsets = {TopicPartition(topic, partition): end for (topic, partition), end in ends.items()}
        async with self._outages_told():
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._consumer.commit(offsets)
            except (CommitFailedError, IllegalStateError) as error:
                log.info(
                    "the group has changed: what was done comes again, and is known",
                    extra={"group": self._group, "cause": type(error).__name__},
                )

    async def seek(self, topic: str, partition: int, offset: int) -> bool:
        if self._consumer is None or (topic, partition) not in self._owned:
            return False
        try:
            self._consumer.seek(TopicPartition(topic, partition), offset)
        except IllegalStateError:
            return False
        self._positions[topic, partition] = offset
        return True

    def owned(self) -> frozenset[Place]:
        return self._owned

    async def keep_alive(self) -> None:
        """Heartbeats go out by themselves; this says that whoever handles has not hung."""
        if self._consumer is not None:
            with self._consumer._subscription.fetch_context():
                pass

    async def disconnect(self, *, leave: bool = False) -> None:
        """End the connection. Unless it leaves, the group waits for this member to come back."""
        consumer, static = self._consumer, self._static
        self._consumer = self._static = None
        self._on_moved(())
        if consumer is not None:
            await _close(consumer, static if leave else None)

    # Joining

    async def _join(self) -> AIOKafkaConsumer:
        if self._consumer is not None:
            return self._consumer
        async with self._joining:
            if self._consumer is None:
                consumer = self._new_consumer()
                try:
                    async with asyncio.timeout(2 * self._session_s + self._timeout_s):
                        await consumer._client.bootstrap()
                        await require_topics(consumer._client, self._topics)
                        await consumer.start()
                except (KafkaError, OSError) as error:
                    await _close(consumer, None)
                    raise self._unavailable(error) from error
                except BaseException:
                    await _close(consumer, None)
                    raise
                self._static = StaticMember(consumer._coordinator, self._member)
                self._consumer = consumer
            return self._consumer

    def _new_consumer(self) -> AIOKafkaConsumer:
        session_ms = int(self._session_s * 1000)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            group_id=self._group,
            group_instance_id=self._member,
            # A join is answered when all members have heard of it, at worst after a whole session.
            request_timeout_ms=int((self._timeout_s + self._session_s) * 1000),
            retry_backoff_ms=RETRY_BACKOFF_MS,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // HEARTBEATS_PER_SESSION,
            max_poll_interval_ms=int(HANDLING_TIMEOUT_S * 1000),
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        consumer.subscribe(self._topics, listener=_Moves(self))
        return consumer

    def _on_moved(self, owned: Collection[TopicPartition]) -> None:
        """Positions are forgotten: each partition goes on at what was committed, ours or not."""
        self._owned = frozenset((each.topic, each.partition) for each in owned)
        self._positions = {}
        log.info("partitions moved", extra={"group": self._group, "partitions": len(owned)})

    # Reading

    async def _fetch(self, consumer: AIOKafkaConsumer, records_max: int, timeout_s: float) -> dict[Any, Any]:
        try:
            async with asyncio.timeout(timeout_s + _OVERTIME_S):
                polled: dict[Any, Any] = await consumer.getmany(
                    timeout_ms=int(timeout_s * 1000), max_records=records_max
                )
                return polled
        except TimeoutError:  # a rebalance is under way, which getmany waits out however long it takes
            consumer._subscription._fetch_count = 0  # canceled, it would count as polling for ever
            return {}

    def _committable(self, deliveries: Sequence[Delivery]) -> dict[Place, int]:
        """Partition → offset to commit, without those that are not ours, or not ours any more.

        An end beyond our position was delivered before the partition was dealt out again, or before a seek:
        the records in between come again, so they are not done.
        """
        ends: dict[Place, int] = {}
        for delivery in deliveries:
            place = (delivery.topic, delivery.partition)
            ends[place] = max(ends.get(place, 0), delivery.offset + 1)
        kept = {place: end for place, end in ends.items() if end <= self._positions.get(place, 0)}
        if len(kept) < len(ends):
            log.info(
                "acknowledgement of partitions that are not ours is left out",
                extra={"group": self._group, "partitions": sorted(ends.keys() - kept.keys())},
            )
        return kept

    # Outages

    @asynccontextmanager
    async def _outages_told(self) -> AsyncIterator[None]:
        """After an outage nothing is ours until we have joined again."""
        try:
            yield
        except (KafkaError, OSError) as error:
            told = self._unavailable(error)
            await self.disconnect()
            raise told from error

    def _unavailable(self, error: BaseException) -> BusUnavailable:
        replaced = self._static is not None and self._static.is_replaced
        what = "another process has this member's name" if replaced else "Kafka does not answer"
        return BusUnavailable(what, group=self._group, member=self._member, cause=repr(error)[:200])


def _is_connected(consumer: AIOKafkaConsumer) -> bool:
    """aiokafka goes on trying in silence; an outage shows in its connections."""
    return any(connection.connected() for connection in consumer._client._conns.values())


def _let_others_go_first(consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
    """What is left of a partition goes to the end of the line: a long backlog does not hold up the others."""
    fetched = consumer._fetcher._records
    if partition in fetched:
        fetched.move_to_end(partition)


async def _close(consumer: AIOKafkaConsumer, leaving: StaticMember | None) -> None:
    """Stop it within a bound. `stop` alone would wait for a broker that does not answer, and never leaves.

    What coordinates the membership ends first: it would join again as soon as we have left.
    """
    coordinator = consumer._coordinator
    if coordinator is not None:
        tasks = [
            task
            for task in (
                coordinator._coordination_task,
                coordinator._heartbeat_task,
                coordinator._commit_refresh_task,
            )
            if task is not None
        ]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CLOSE_TIMEOUT_S)
    if leaving is not None:
        await leaving.leave()
    stopping = asyncio.create_task(
        consumer.stop()
    )  # what it cancels is canceled in its own task, and not in ours
    await asyncio.wait([stopping], timeout=_CLOSE_TIMEOUT_S)
    if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
        log.info("Kafka was left in a hurry", extra={"member": consumer._client._client_id})
        stopping.cancel()
        await close_client(consumer._client)


def _delivery(record: Any) -> Delivery:
    """Records of others may lack what ours have: a key, a value, text in their headers."""
    return Delivery(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=(record.key or b"").decode(errors="replace"),
        headers={name: (text or b"").decode(errors="replace") for name, text in record.headers},
        value=record.value or b"",
    )

"""Records → Kafka: whole batches, in order per key, all replicas, no duplicates by its own retries.

Batches are built here, one for each partition and half megabyte, and not record by record: a record then costs a few
microseconds, and one answer serves them all.

A producer that failed once is not used again. Kafka numbers what a producer sends, so that its retries leave
no duplicates; after a gap in the numbers it accepts nothing more from that producer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import murmur2

from libs.common.messaging.bus import Record, RecordTooLarge
from libs.common.messaging.kafka_cluster import (
    CLOSE_TIMEOUT_S,
    RETRY_BACKOFF_MS,
    close_client,
    outages_told,
    require_topics,
)

log = logging.getLogger(__name__)

BATCH_BYTES = 512 * 1024
ROUND_BYTES_MAX = 32 * 1024 * 1024  # a broker takes a request of 100 MiB, and not a byte more
_KEYS_REMEMBERED = 8192
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

Positions = list[int]  # indexes into what was to be published


@dataclass(frozen=True, slots=True)
class _Failed:
    """A batch that the broker did not take, and why."""

    positions: Positions
    error: BaseException


class KafkaPublisher:
    """One for a process. Publications of several tasks share its connection."""

    def __init__(self, bootstrap: str, *, client_id: str, timeout_s: float) -> None:
        self._bootstrap, self._client_id, self._timeout_s = bootstrap, client_id, timeout_s
        self._opening = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, records: Sequence[Record]) -> None:
        """Raises: BusUnavailable; UnknownTopic; RecordTooLarge."""
        for positions in _rounds(records):
            failed = await self._publish(records, positions)
            if failed:
                await self._tell(records, failed)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _retire(producer, KafkaError("the bus was closed"))

    async def _publish(self, records: Sequence[Record], positions: Positions) -> list[_Failed]:
        """Returns what was refused for its size, if anything. Raises: BusUnavailable; UnknownTopic."""
        producer: AIOKafkaProducer | None = None
        try:
            async with outages_told("Kafka does not take what is published", timeout_s=self._timeout_s):
                producer = await self._open()
                await require_topics(producer.client, {records[n].topic for n in positions})
                failed = await _send(producer, records, positions)
                if failed and not any(isinstance(each.error, _TOO_LARGE) for each in failed):
                    raise failed[0].error
        except BaseException as error:
            if producer is not None and isinstance(error, Exception):
                await self._give_up(producer, error)
            raise
        if failed:  # of these the broker has not taken a number that the producer has counted
            await self._give_up(producer, failed[0].error)
        return [each for each in failed if isinstance(each.error, _TOO_LARGE)]

    async def _tell(self, records: Sequence[Record], refused: list[_Failed]) -> None:
        """Raises: RecordTooLarge. A batch that was refused is sent again record by record, to see which it was."""
        guilty = {each.positions[0] for each in refused if len(each.positions) == 1}
        for each in refused:
            for position in each.positions:
                if len(each.positions) > 1 and await self._publish(records, [position]):
                    guilty.add(position)
        if guilty:
            raise RecordTooLarge(
                "Kafka takes no such long records",
                positions=guilty,
                topics=sorted({records[n].topic for n in guilty}),
            )

    async def _give_up(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        if self._producer is producer:
            self._producer = None
            await _retire(producer, error)

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    client_id=self._client_id,
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=BATCH_BYTES,
                    request_timeout_ms=int(self._timeout_s * 1000),
                    retry_backoff_ms=RETRY_BACKOFF_MS,
                )
                try:
                    await producer.start()
                except BaseException as error:
                    await _retire(producer, error)
                    raise
                self._producer = producer
            return self._producer


def _rounds(records: Sequence[Record]) -> list[Positions]:
    """The records in portions that fit into one request."""
    rounds: list[Positions] = []
    room = 0
    for position, record in enumerate(records):
        room -= len(record.value)
        if not rounds or room < 0:
            rounds.append([])
            room = ROUND_BYTES_MAX - len(record.value)
        rounds[-1].append(position)
    return rounds


async def _send(producer: AIOKafkaProducer, records: Sequence[Record], positions: Positions) -> list[_Failed]:
    """Send all, each partition's in order; returns the batches that failed. A second batch waits for its first."""
    by_partition: dict[tuple[str, int], Positions] = defaultdict(list)
    counts = {topic: len(producer.client.cluster.partitions_for_topic(topic)) for topic in _topics(records)}
    for position in positions:
        record = records[position]
        partition = record.partition
        if partition is None:
            partition = _hash(record.key) % counts[record.topic]
        by_partition[record.topic, partition].append(position)
    sent = await asyncio.gather(
        *(
            _send_to_partition(producer, topic, partition, records, theirs)
            for (topic, partition), theirs in by_partition.items()
        )
    )
    return [failed for each in sent for failed in each]


async def _send_to_partition(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    records: Sequence[Record],
    positions: Positions,
) -> list[_Failed]:
    answers = []
    left = positions
    while left:
        batch = producer.create_batch()
        count = 0
        for position in left:
            record = records[position]
            taken = batch.append(
                timestamp=None,
                key=record.key.encode(),
                value=record.value,
                headers=[(name, text.encode()) for name, text in record.headers.items()],
            )
            if taken is None:
                break
            count += 1
        assert count, "a batch takes its first record, however large"
        batch.close()
        answers.append((left[:count], await producer.send_batch(batch, topic, partition=partition)))
        left = left[count:]
    outcomes = await asyncio.gather(*(answer for _, answer in answers), return_exceptions=True)
    return [
        _Failed(theirs, outcome)
        for (theirs, _), outcome in zip(answers, outcomes, strict=True)
        if isinstance(outcome, BaseException)
    ]


def _topics(records: Sequence[Record]) -> set[str]:
    return {record.topic for record in records}


@lru_cache(_KEYS_REMEMBERED)
def _hash(key: str) -> int:
    """As all Kafka clients do it by default, so that whoever publishes to the same topic agrees on the partition."""
    hashed: int = murmur2(key.encode()) & 0x7FFFFFFF
    return hashed


async def _retire(producer: AIOKafkaProducer, error: BaseException) -> None:
    """Stop it without waiting for what it still wants to send: the caller publishes that again.

    `stop` would wait for the broker, and a sender that is canceled waits for news of the cluster that no
    longer come.
    """
    producer._closed = True
    sender = producer._sender.sender_task
    if sender is not None and not sender.done():
        sender.cancel()
    await close_client(producer.client)
    deadline = asyncio.get_running_loop().time() + CLOSE_TIMEOUT_S
    while sender is not None and not sender.done() and asyncio.get_running_loop().time() < deadline:
        news = producer.client._md_update_fut
        if news is not None and not news.done():
            news.set_result(False)
        await asyncio.wait([sender], timeout=0.05)
    producer._message_accumulator.fail_all(KafkaError(f"given up: {error!r}"))

"""The bus port over Apache Kafka: partitions are the unit of parallel work, and groups share them out.

Correctness does not rest on Kafka's transactions: a record may be delivered twice, and readers know it by its
id. What was published is there once all in-sync replicas have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.contracts.topics import Topic
from libs.common.messaging.bus import Record
from libs.common.messaging.kafka_cluster import KafkaCluster
from libs.common.messaging.kafka_publisher import KafkaPublisher
from libs.common.messaging.kafka_subscription import KafkaSubscription

TIMEOUT_S = 10.0
SESSION_S = 10.0


class KafkaBus:
    """One for a process. `bootstrap` is one address or several, separated by commas.

    `timeout_s`: how long a call tries before it says that Kafka is unavailable. `session_s`: how long a group
    waits for a member that died before the others take over.
    """

    def __init__(
        self, bootstrap: str, *, client_id: str, timeout_s: float = TIMEOUT_S, session_s: float = SESSION_S
    ) -> None:
        self._bootstrap, self._client_id = bootstrap, client_id
        self._timeout_s, self._session_s = timeout_s, session_s
        self._cluster = KafkaCluster(bootstrap, client_id=client_id, timeout_s=timeout_s)
        self._publisher = KafkaPublisher(bootstrap, client_id=client_id, timeout_s=timeout_s)

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        await self._cluster.ensure_topics(topics)

    async def publish(self, records: Sequence[Record]) -> None:
        await self._publisher.publish(records)

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> KafkaSubscription:
        return KafkaSubscription(
            self._bootstrap,
            group=group,
            topics=topics,
            member=member,
            client_id=self._client_id,
            timeout_s=self._timeout_s,
            session_s=self._session_s,
        )

    async def end_offsets(self, topic: str) -> dict[int, int]:
        return await self._cluster.end_offsets(topic)

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        return await self._cluster.begin_offsets(topic)

    async def offsets_at(self, topic: str, instant: datetime) -> dict[int, int]:
        return await self._cluster.offsets_at(topic, instant)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return await self._cluster.committed(group, topic)

    async def close(self) -> None:
        """Close the connections. Subscriptions have their own, and are left by whoever entered them."""
        await self._publisher.close()
        await self._cluster.close()

"""The topics of a deployment: the one table that says how many partitions each has and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from libs.common.contracts import SERVICES, topic_of

USAGE_TOPIC = "perennial.usage.v1"
MESSAGE_BYTES_MAX = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """Partitions are the unit of parallel work, and never change: a key would move to another.

    What is older than `retention` may be gone, read or not. `message_bytes_max` is for a record with all that
    belongs to it.
    """

    name: str
    partitions: int = 12
    retention: timedelta = timedelta(days=7)
    message_bytes_max: int = MESSAGE_BYTES_MAX


TOPICS: tuple[Topic, ...] = (
    *(Topic(topic_of(service)) for service in SERVICES),
    Topic(USAGE_TOPIC),
)

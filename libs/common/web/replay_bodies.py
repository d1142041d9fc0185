"""A replay as operators ask for it, and as they see it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from libs.common.messaging.replay import AskReplay, Replay, ReplayedPartition, ReplayStatus
from libs.common.web.bodies import Instant, StrictBody

OFFSET_MAX = 2**63 - 1
PARTITION_MAX = 2**31 - 1


class ReplayRequestBody(StrictBody):
    """From where: an offset, or an instant at which the events were published; with neither, from the beginning."""

    topic: Annotated[str, Field(max_length=200, examples=["perennial.subscriptions.v1"])] | None = None
    partition: Annotated[int, Field(ge=0, le=PARTITION_MAX, examples=[3])] | None = None
    from_offset: Annotated[int, Field(ge=0, le=OFFSET_MAX, examples=[1200])] | None = None
    since: Instant | None = None

    def to_asked(self) -> AskReplay:
        return AskReplay(self.topic, self.partition, self.from_offset, self.since)


class ReplayedPartitionBody(StrictBody):
    """`starts_at_earliest_kept`: what was asked for may begin earlier, and the bus does not keep it any more."""

    topic: str = Field(examples=["perennial.subscriptions.v1"])
    partition: int = Field(examples=[3])
    status: ReplayStatus
    from_offset: int = Field(examples=[1200])
    until_offset: int = Field(examples=[1250])
    position: int | None = Field(examples=[1210])
    starts_at_earliest_kept: bool

    @classmethod
    def from_partition(cls, one: ReplayedPartition) -> Self:
        return cls(
            topic=one.topic,
            partition=one.partition,
            status=one.status,
            from_offset=one.from_offset,
            until_offset=one.until_offset,
            position=one.position,
            starts_at_earliest_kept=one.is_earliest_kept,
        )


class ReplayBody(StrictBody):
    """`waiting` until the consumers have gone back, `replaying` until they stand again where they stood."""

    id: str = Field(examples=["rpl_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    status: ReplayStatus
    messages_left: int = Field(examples=[40])
    topic: str | None = Field(examples=["perennial.subscriptions.v1"])
    partition: int | None = Field(examples=[3])
    from_offset: int | None = Field(examples=[1200])
    since: Instant | None
    asked_by: str = Field(examples=["token:tok_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    asked_at: Instant
    partitions: list[ReplayedPartitionBody]

    @classmethod
    def from_replay(cls, replay: Replay) -> Self:
        return cls(
            id=replay.id,
            status=replay.status,
            messages_left=replay.messages_left,
            topic=replay.asked.topic,
            partition=replay.asked.partition,
            from_offset=replay.asked.from_offset,
            since=replay.asked.since,
            asked_by=replay.asked_by,
            asked_at=replay.asked_at,
            partitions=[ReplayedPartitionBody.from_partition(one) for one in replay.partitions],
        )

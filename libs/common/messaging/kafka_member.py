"""A static member of a Kafka group: its name goes along with what it sends, and it can leave.

Kafka knows a member by its name (`group.instance.id`): who comes back under it takes over at once, with the same
partitions, and nobody else notices. aiokafka sends the name only when it joins. Sent with heartbeats and
commits too, it tells a member whose place another has taken from one that was merely missed for too long;
and without it two processes of one name would take the place from each other for ever, unheard.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest

from libs.common.messaging.kafka_requests import NamedHeartbeat, NamedLeave, NamedOffsetCommit

log = logging.getLogger(__name__)

LEAVE_TIMEOUT_S = 2.0
_FENCED = 82


class StaticMember:
    """Of one consumer that has joined. `is_replaced`: another process has joined under the same name."""

    def __init__(self, coordinator: GroupCoordinator, name: str) -> None:
        self._coordinator, self._name = coordinator, name
        self._send_unnamed = coordinator._send_req
        self.is_replaced = False
        coordinator._send_req = self._send

    async def _send(self, request: Any) -> Any:
        if isinstance(request, HeartbeatRequest):
            response = await self._send_unnamed(NamedHeartbeat(request, self._name))
            self._note([response.error_code])
            return response
        if isinstance(request, OffsetCommitRequest):
            response = await self._send_unnamed(NamedOffsetCommit(request, self._name))
            self._note([code for _, partitions in response.topics for _, code in partitions])
            return response
        return await self._send_unnamed(request)

    def _note(self, codes: list[int]) -> None:
        if _FENCED in codes and not self.is_replaced:
            self.is_replaced = True
            log.warning(
                "another process has joined the group under this member's name: give each its own",
                extra={"group": self._coordinator.group_id, "member": self._name},
            )

    async def leave(self) -> None:
        """Give the partitions back at once. If that fails, the group misses the member after its session."""
        node = self._coordinator.coordinator_id
        member_id = self._coordinator.member_id
        if node is None or not member_id or self.is_replaced:
            return
        request = NamedLeave(self._coordinator.group_id, member_id, self._name)
        with suppress(KafkaError, OSError):
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                await self._coordinator._client.send(node, request, group=ConnectionGroup.COORDINATION)

"""The four services over HTTP, asked what a test clock must still wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from libs.common.access.peer_tokens import PeerTokens
from libs.common.clock import Clock
from libs.common.contracts import SERVICES
from libs.common.http_client import PeerClient, PeerUnavailable
from libs.common.telemetry import span
from services.subscriptions.domain.clock_rest import Look

NOT_HEARD_OF = "test_clock_not_heard_of"  # the code of the problem that says so

# A trace that is not sampled: asking many times a second whether a clock is at rest is no story to be kept.
_UNSAMPLED = "00-0000000000000000000000000000c10c-0000000000000001-00"


class HttpClockPeers:
    """Asks with tokens of the clock's own tenant, good for a minute and for nothing but this question."""

    def __init__(self, client: PeerClient, *, key_path: Path, clock: Clock) -> None:
        self._client = client
        self._tokens = PeerTokens(["clocks:read"], key_path=key_path, clock=clock)

    async def look(
        self, *, tenant: str, test_clock_id: str, services: Sequence[str] = SERVICES
    ) -> Sequence[Look]:
        """Raises: PeerUnavailable."""
        token = self._tokens.of(tenant)
        with span("look at test clock", parent=_UNSAMPLED):
            return await asyncio.gather(*(self._ask(service, test_clock_id, token) for service in services))

    async def _ask(self, service: str, test_clock_id: str, token: str) -> Look:
        path = f"/v1/{service}-operations/clock-dues/{test_clock_id}"
        answer = await self._client.get(service, path, token=token)
        if answer.status_code == 404 and NOT_HEARD_OF in answer.text:
            return Look(service, clock_now=None, earliest_due_at=None, busy=0, unpublished=0, last_position=0)
        if answer.status_code != 200:
            raise PeerUnavailable(f"{service} answered {answer.status_code}", peer=service)
        told: dict[str, Any] = answer.json()
        return Look(
            service=service,
            clock_now=datetime.fromisoformat(told["clock_now"]),
            earliest_due_at=_instant(told["earliest_due_at"]),
            busy=told["busy"],
            unpublished=told["unpublished"],
            last_position=told["last_position"],
        )


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None

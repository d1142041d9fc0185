"""Metering and billing over HTTP, asked what events would come to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from libs.common.access.peer_tokens import PeerTokens
from libs.common.clock import Clock
from libs.common.errors import Conflict, RuleViolation
from libs.common.http_client import PeerClient, PeerUnavailable
from services.subscriptions.application.preview import ToldEvents, UsageSoFar

CLOSED = "perennial.metering.usage_window.closed.v1"


class NotPreviewable(RuleViolation):
    """Billing or metering would refuse what the change makes of the agreement."""

    code: ClassVar[str] = "not_previewable"
    title: ClassVar[str] = "The change cannot be billed"


class PreviewTooEarly(Conflict):
    code: ClassVar[str] = "preview_too_early"
    title: ClassVar[str] = "The subscription is not known everywhere yet"


class HttpPreviewPeers:
    """Asks with tokens of the tenant, good for a minute and for nothing but these two questions."""

    def __init__(self, client: PeerClient, *, key_path: Path, clock: Clock) -> None:
        self._client = client
        self._tokens = PeerTokens(["billing:read", "usage:read"], key_path=key_path, clock=clock)

    async def count_usage(self, tenant: str, events: ToldEvents) -> UsageSoFar:
        told = await self._ask("metering", "/v1/usage-window-previews", tenant, events)
        return UsageSoFar(
            as_of=datetime.fromisoformat(told["as_of"]),
            usage_records_waiting=told["usage_records_waiting"],
            events_waiting=told["events_waiting"],
            closed=[event for event in told["events"] if event["type"] == CLOSED],
        )

    async def bill(self, tenant: str, events: ToldEvents) -> Mapping[str, Any]:
        return await self._ask("billing", "/v1/invoice-previews", tenant, events)

    async def _ask(self, peer: str, path: str, tenant: str, events: ToldEvents) -> dict[str, Any]:
        answer = await self._client.request(
            "POST", peer, path, token=self._tokens.of(tenant), json={"events": list(events)}, repeatable=True
        )
        if answer.status_code == 200:
            told: dict[str, Any] = answer.json()
            return told
        problem = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        detail = str(problem.get("detail") or f"{peer} answered {answer.status_code}")
        if answer.status_code == 409:
            raise PreviewTooEarly(detail, peer=peer, remedy="Ask again in a moment.")
        if answer.status_code == 422:
            raise NotPreviewable(detail, peer=peer, reason=problem.get("code"))
        raise PeerUnavailable(detail, peer=peer)

"""Metering over HTTP, asked how much a subscription has used so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from libs.common.access.peer_tokens import PeerTokens
from libs.common.clock import Clock
from libs.common.contracts.metering import UsageTotalV1
from libs.common.http_client import PeerClient, PeerUnavailable
from services.billing.application import snapshots
from services.billing.domain.charge import ItemUsage


@dataclass(frozen=True, slots=True)
class WindowSoFar:
    """One usage window under way, with what it would say if it closed now."""

    window_id: str
    period_index: int
    window_start: datetime
    window_end: datetime
    counted_until: datetime
    totals: tuple[ItemUsage, ...]


class HttpMetering:
    """Asks with tokens of the tenant, good for a minute and for nothing but this question."""

    def __init__(self, client: PeerClient, *, key_path: Path, clock: Clock) -> None:
        self._client = client
        self._tokens = PeerTokens(["usage:read"], key_path=key_path, clock=clock)

    async def usage_so_far(self, tenant: str, subscription_id: str) -> Sequence[WindowSoFar]:
        """Of the windows under way. Raises: PeerUnavailable."""
        answer = await self._client.get(
            "metering",
            "/v1/usage-so-far",
            token=self._tokens.of(tenant),
            params={"subscription_id": subscription_id},
        )
        if answer.status_code != 200:
            raise PeerUnavailable(f"metering answered {answer.status_code}", peer="metering")
        told: dict[str, Any] = answer.json()
        return [_window(window) for window in told["data"]]


def _window(told: Mapping[str, Any]) -> WindowSoFar:
    return WindowSoFar(
        window_id=told["window_id"],
        period_index=told["period_index"],
        window_start=datetime.fromisoformat(told["window_start"]),
        window_end=datetime.fromisoformat(told["window_end"]),
        counted_until=datetime.fromisoformat(told["counted_until"]),
        totals=tuple(_total(total) for total in told["totals"]),
    )


def _total(told: Mapping[str, Any]) -> ItemUsage:
    total = UsageTotalV1.model_validate(told)
    return snapshots.item_usage_from(total)

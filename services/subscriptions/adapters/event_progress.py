"""How far each service has read what the others tell: the bus's own account of its groups."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from libs.common.contracts import HEARS, SERVICES, group_of, topic_of
from libs.common.messaging.bus import Bus
from services.subscriptions.domain.clock_rest import Offsets, is_behind


class BusProgress:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ends(self) -> Mapping[str, Offsets]:
        """Raises: BusUnavailable."""
        found = await asyncio.gather(*(self._bus.end_offsets(topic_of(service)) for service in SERVICES))
        return dict(zip(SERVICES, found, strict=True))

    async def find_behind(self, ends: Mapping[str, Offsets]) -> tuple[str, str] | None:
        """Raises: BusUnavailable."""
        pairs = [(reader, publisher) for reader in SERVICES for publisher in HEARS[reader]]
        committed = await asyncio.gather(
            *(self._bus.committed(group_of(reader), topic_of(publisher)) for reader, publisher in pairs)
        )
        for (reader, publisher), handled in zip(pairs, committed, strict=True):
            if is_behind(handled, ends[publisher]):
                return reader, publisher
        return None

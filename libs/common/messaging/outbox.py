"""Events are written beside the state they tell of, in the same transaction; the relay publishes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.envelope import Event
from libs.common.ids import new_id
from libs.common.persistence.base import bulk_insert, raw
from libs.common.telemetry import current_traceparent

CHANNEL = "perennial_outbox"


class Outbox:
    """Events of the open transaction, written in one statement when the unit of work is flushed."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows: list[dict[str, Any]] = []
        self.appended_count = 0

    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None:
        """Publish `event` once this transaction has committed. `key` is the aggregate's id.

        The trace is the one that runs now, or `traceparent` where the work belongs to an older one.
        """
        self._rows.append(
            {
                "id": new_id("evt"),
                "type": event.TYPE,
                "tenant": event.tenant,
                "aggregate_id": key,
                "aggregate_version": event.version,
                "occurred_at": event.occurred_at,
                "test_clock": event.test_clock,
                "traceparent": traceparent or current_traceparent(),
                "data": event.model_dump_json(exclude_defaults=True).encode(),
            }
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        """What is waiting to be flushed."""
        return self._rows

    async def flush(self, connection: AsyncConnection) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        self.appended_count += len(rows)
        await bulk_insert(connection, self._table, rows)
        await (await raw(connection)).execute(f"NOTIFY {CHANNEL}")

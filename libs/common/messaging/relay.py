"""Outbox rows → bus, in order per key. One relay per service at a time: it holds an advisory lock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from libs.common.contracts import topic_of
from libs.common.contracts.envelope import Envelope
from libs.common.messaging.alarm import Alarm
from libs.common.messaging.bus import Bus, Record
from libs.common.messaging.outbox import CHANNEL
from libs.common.messaging.spans import send_spans
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import asyncpg_dsn
from libs.common.telemetry import metrics

log = logging.getLogger(__name__)

LOCK = "hashtextextended('perennial_relay', 0)"
BATCH_MAX = 500
POLL_S = 1.0
STATEMENT_TIMEOUT_S = 60.0
OUTAGE_PAUSE_FIRST_S, OUTAGE_PAUSE_MAX_S = 0.1, 5.0

# All unpublished rows, not "rows after the last id": a lower id may commit later.
_PENDING = f"""
    SELECT position, id, type, tenant::text, aggregate_id, aggregate_version, occurred_at, test_clock,
           traceparent, data
    FROM outbox WHERE published_at IS NULL ORDER BY position LIMIT {BATCH_MAX}
"""
_PUBLISHED = "UPDATE outbox SET published_at = clock_timestamp() WHERE position = ANY($1::bigint[])"
_BACKLOG = """
    SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0)::float8 AS age_s
    FROM outbox WHERE published_at IS NULL
"""


class Relay:
    """Publishes what the service's transactions left in its outbox.

    A row is marked published after the bus has it: a crash in between publishes it again, which the inbox of
    every reader expects. The lock lives on the relay's own connection and is gone with the process.
    """

    def __init__(self, *, service: str, dsn: str, role: str, bus: Bus, wake: Sequence[Alarm] = ()) -> None:
        self._service, self._dsn, self._role, self._bus = service, asyncpg_dsn(dsn), role, bus
        self._source = f"/perennial/{service}"
        self._alarm = Alarm()
        self._wake = wake
        self._pause_s = OUTAGE_PAUSE_FIRST_S

    async def run(self) -> None:
        """Publish until canceled. Outages of database and bus are waited out."""
        while True:
            try:
                await self._run_connected()
            except Exception as error:
                if not is_outage(error):
                    log.exception("relay stumbled", extra={"service_name": self._service})
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(self._pause_s * 2, OUTAGE_PAUSE_MAX_S)

    async def _run_connected(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=STATEMENT_TIMEOUT_S)
        try:
            await connection.execute(f"SET ROLE {self._role}")
            await connection.add_listener(CHANNEL, self._on_notice)
            while not await connection.fetchval(f"SELECT pg_try_advisory_lock({LOCK})"):
                await self._alarm.wait(POLL_S)
            await self._measure_backlog(connection)  # an outage of the bus shows as a backlog that grows
            while True:
                while await self.publish_batch(connection):
                    pass
                self._pause_s = OUTAGE_PAUSE_FIRST_S
                await self._measure_backlog(connection)
                await self._alarm.wait(POLL_S)
        finally:
            connection.terminate()

    async def _measure_backlog(self, connection: asyncpg.Connection[Any]) -> None:
        backlog = await connection.fetchrow(_BACKLOG)
        assert backlog is not None
        metrics.outbox(self._service, waiting=backlog["waiting"], age_s=backlog["age_s"])

    def _on_notice(self, *_: Any) -> None:
        self._alarm.ring()
        for alarm in self._wake:
            alarm.ring()

    async def publish_batch(self, connection: asyncpg.Connection[Any]) -> int:
        """Publish up to BATCH_MAX rows and mark them; returns how many."""
        rows = await connection.fetch(_PENDING)
        if not rows:
            return 0
        envelopes = [self._envelope(row) for row in rows]
        topic = topic_of(self._service)
        with send_spans(topic, envelopes) as hops:
            await self._bus.publish(
                [
                    Record(topic=topic, key=e.key, headers=e.headers(hop_traceparent=hop), value=e.data)
                    for e, hop in zip(envelopes, hops, strict=True)
                ]
            )
        await connection.execute(_PUBLISHED, [row["position"] for row in rows])
        metrics.published(self._service, [e.type for e in envelopes])
        return len(rows)

    def _envelope(self, row: asyncpg.Record) -> Envelope:
        occurred_at: datetime = row["occurred_at"]
        return Envelope(
            id=row["id"],
            type=row["type"],
            source=self._source,
            tenant=row["tenant"],
            aggregate_id=row["aggregate_id"],
            aggregate_version=row["aggregate_version"],
            occurred_at=occurred_at,
            test_clock=row["test_clock"],
            traceparent=row["traceparent"],
            data=row["data"],
        )

"""Outbox rows → bus, in order per key. One relay per service at a time: it holds an advisory lock."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from libs.common.contracts import topic_of
from libs.common.contracts.envelope import Envelope
from libs.common.messaging.alarm import Alarm
from libs.common.messaging.bus import Bus, Record, RecordTooLarge
from libs.common.messaging.outbox import CHANNEL
from libs.common.messaging.spans import send_spans
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import asyncpg_dsn
from libs.common.stopping import Stopping
from libs.common.telemetry import metrics

log = logging.getLogger(__name__)

LOCK = "hashtextextended('perennial_relay', 0)"
BATCH_MAX = 500
POLL_S = 1.0
STATEMENT_TIMEOUT_S = 60.0
OUTAGE_PAUSE_FIRST_S, OUTAGE_PAUSE_MAX_S = 0.1, 5.0

REFUSED_AGAIN_S = 60
REFUSAL_LENGTH_MAX = 500

# All unpublished rows, not "rows after the last id": a lower id may commit later. One that the bus refused rests
# for a while, so that it does not hold up the others; by then the bus may take more.
_PENDING = f"""
    SELECT position, id, type, tenant::text, aggregate_id, aggregate_version, occurred_at, test_clock,
           traceparent, data, refused_at
    FROM outbox WHERE published_at IS NULL
    AND (refused_at IS NULL OR refused_at < clock_timestamp() - interval '{REFUSED_AGAIN_S} s')
    ORDER BY position LIMIT {BATCH_MAX}
"""
_PUBLISHED = "UPDATE outbox SET published_at = clock_timestamp() WHERE position = ANY($1::bigint[])"
_REFUSED = "UPDATE outbox SET refused_at = clock_timestamp(), refusal = $2 WHERE position = ANY($1::bigint[])"
_BACKLOG = """
    SELECT count(*) FILTER (WHERE refused_at IS NULL) AS waiting, count(refused_at) AS refused,
           coalesce(
               extract(epoch FROM clock_timestamp() - min(recorded_at) FILTER (WHERE refused_at IS NULL)), 0
           )::float8 AS age_s
    FROM outbox WHERE published_at IS NULL
"""


class Relay:
    """Publishes what the service's transactions left in its outbox.

    A row is marked published after the bus has it: a crash in between publishes it again, which the inbox of
    every reader expects. The lock lives on the relay's own connection and is gone with the process.

    An event that the bus refuses by itself (it is too large) stays in the outbox and is tried again every minute,
    since a limit may be raised; the events behind it go on. That the next event of its key then comes first is
    safe: handlers that replace state ignore older versions, and handlers that add do not depend on order.
    """

    def __init__(
        self,
        *,
        service: str,
        dsn: str,
        role: str,
        bus: Bus,
        wake: Sequence[Alarm] = (),
        stopping: Stopping | None = None,
    ) -> None:
        self._service, self._dsn, self._role, self._bus = service, asyncpg_dsn(dsn), role, bus
        self._source = f"/perennial/{service}"
        self._alarm = Alarm()
        self._wake = wake
        self._stopping = stopping or Stopping()
        self._stopping.tell(self._alarm.ring)
        self._pause_s = OUTAGE_PAUSE_FIRST_S

    async def run(self) -> None:
        """Publish until told to stop; the batch in hand is finished. Outages of database and bus are waited out."""
        while not self._stopping.is_set():
            try:
                await self._run_connected()
            except Exception as error:
                if not is_outage(error):
                    log.exception("relay stumbled", extra={"service_name": self._service})
                await self._stopping.pause(self._pause_s)
                self._pause_s = min(self._pause_s * 2, OUTAGE_PAUSE_MAX_S)

    async def _run_connected(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=STATEMENT_TIMEOUT_S)
        try:
            await connection.execute(f"SET ROLE {self._role}")
            await connection.add_listener(CHANNEL, self._on_notice)
            while not await connection.fetchval(f"SELECT pg_try_advisory_lock({LOCK})"):
                metrics.outbox_is_elsewhere(self._service)
                await self._alarm.wait(POLL_S)
                if self._stopping.is_set():
                    return
            await self._measure_backlog(connection)  # an outage of the bus shows as a backlog that grows
            while not self._stopping.is_set():
                while not self._stopping.is_set() and await self.publish_batch(connection):
                    pass
                self._pause_s = OUTAGE_PAUSE_FIRST_S
                await self._measure_backlog(connection)
                if not self._stopping.is_set():
                    await self._alarm.wait(POLL_S)
        finally:
            connection.terminate()

    async def _measure_backlog(self, connection: asyncpg.Connection[Any]) -> None:
        backlog = await connection.fetchrow(_BACKLOG)
        assert backlog is not None
        metrics.outbox(
            self._service, waiting=backlog["waiting"], age_s=backlog["age_s"], refused=backlog["refused"]
        )

    def _on_notice(self, *_: Any) -> None:
        self._alarm.ring()
        for alarm in self._wake:
            alarm.ring()

    async def publish_batch(self, connection: asyncpg.Connection[Any]) -> int:
        """Publish up to BATCH_MAX rows and mark them; returns how many were published or refused."""
        rows = await connection.fetch(_PENDING)
        left = rows
        while left:
            try:
                await self._publish(left)
                await connection.execute(_PUBLISHED, [row["position"] for row in left])
                metrics.published(self._service, [row["type"] for row in left])
                break
            except RecordTooLarge as error:
                # Of the others some may be on the bus already: they go once more, and readers know them.
                await self._note_refusal(
                    connection, [left[index] for index in sorted(error.positions)], error
                )
                left = [row for index, row in enumerate(left) if index not in error.positions]
        return len(rows)

    async def _publish(self, rows: Sequence[asyncpg.Record]) -> None:
        envelopes = [self._envelope(row) for row in rows]
        topic = topic_of(self._service)
        with send_spans(topic, envelopes) as hops:
            await self._bus.publish(
                [
                    Record(topic=topic, key=e.key, headers=e.headers(hop_traceparent=hop), value=e.data)
                    for e, hop in zip(envelopes, hops, strict=True)
                ]
            )

    async def _note_refusal(
        self, connection: asyncpg.Connection[Any], rows: Sequence[asyncpg.Record], error: RecordTooLarge
    ) -> None:
        for row in rows:
            if (
                row["refused_at"] is None
            ):  # said once, not every minute; the metric and the audit keep saying it
                facts = {"event_id": row["id"], "event_type": row["type"], "event_bytes": len(row["data"])}
                log.error("event refused by the bus", extra=facts, exc_info=error)
        positions = [row["position"] for row in rows]
        await connection.execute(_REFUSED, positions, str(error)[:REFUSAL_LENGTH_MAX])

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

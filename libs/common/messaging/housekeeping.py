"""What is no longer needed goes: published outbox rows, old inbox rows, expired keys and revocations, old records."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from libs.common.access.tenancy import APP, FINDER
from libs.common.clock import Clock
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import Database
from libs.common.telemetry import current_service, metrics

log = logging.getLogger(__name__)

INTERVAL_S = 600
ROWS_MAX = 10_000  # in one transaction
OUTBOX_KEPT = "7 days"
INBOX_KEPT = "90 days"  # longer than the bus keeps records, and than the oldest dead letter

BUS_INTERVAL_S = 3600
RECORDS_KEPT = timedelta(days=7)

# The inbox outlives the oldest dead letter, so that a redriven message is still recognised.
_OVER = {
    "outbox": f"published_at < clock_timestamp() - interval '{OUTBOX_KEPT}'",
    "inbox": f"""handled_at < least(clock_timestamp() - interval '{INBOX_KEPT}',
        (SELECT coalesce(min(first_failed_at), 'infinity') FROM message_failure))""",
    "replay_request": f"asked_at < clock_timestamp() - interval '{INBOX_KEPT}'",
    "revoked_token": "expires_at < clock_timestamp() - interval '1 day'",
}
_EXPIRED_KEYS = "expires_at <= now()"
_TENANTS_WITH_EXPIRED_KEYS = (
    "SELECT DISTINCT tenant::text FROM idempotency_key ORDER BY 1"  # a policy shows no other
)


class Housekeeping:
    """One loop per worker; several side by side do no harm."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> Any:
        while True:
            try:
                await self.tidy()
                metrics.tidied(current_service.get())
            except Exception as error:
                if not is_outage(error):
                    log.exception("housekeeping stumbled")
            await asyncio.sleep(INTERVAL_S)

    async def tidy(self) -> None:
        """Delete all that is over now."""
        for table, over in _OVER.items():
            await self._delete(table, over)
        async with self._database.transaction(FINDER) as connection:
            tenants = (await connection.execute(text(_TENANTS_WITH_EXPIRED_KEYS))).scalars().all()
        for tenant in tenants:
            await self._delete("idempotency_key", _EXPIRED_KEYS, tenant)

    async def _delete(self, table: str, over: str, tenant: str = "") -> None:
        """In slices, so that no transaction is long."""
        slice_of_it = f"ARRAY(SELECT ctid FROM {table} WHERE {over} LIMIT {ROWS_MAX})"
        while True:
            async with self._database.transaction(APP, tenant) as connection:
                deleted = await connection.execute(
                    text(f"DELETE FROM {table} WHERE {over} AND ctid = ANY({slice_of_it})")
                )
            if deleted.rowcount < ROWS_MAX:
                return


class BusHousekeeping:
    """Trims the embedded bus; a Kafka does that by itself. One loop per process, several do no harm."""

    def __init__(self, bus: EmbeddedBus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock

    async def run(self) -> None:
        while True:
            try:
                await self._bus.trim(self._clock.system_now() - RECORDS_KEPT)
            except Exception as error:
                if not is_outage(error):
                    log.exception("trimming the bus stumbled")
            await asyncio.sleep(BUS_INTERVAL_S)

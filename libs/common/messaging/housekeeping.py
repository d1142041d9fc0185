"""What is no longer needed goes: published outbox rows, old inbox rows, expired keys and revocations."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sqlalchemy import text

from libs.common.access.tenancy import APP
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import Database

log = logging.getLogger(__name__)

INTERVAL_S = 600
OUTBOX_KEPT = "7 days"
INBOX_KEPT = "90 days"  # longer than the bus keeps records, and than the oldest dead letter

# The inbox outlives the oldest dead letter, so that a redriven message is still recognised.
_STATEMENTS = (
    f"DELETE FROM outbox WHERE published_at < clock_timestamp() - interval '{OUTBOX_KEPT}'",
    f"""DELETE FROM inbox WHERE handled_at < least(clock_timestamp() - interval '{INBOX_KEPT}',
        (SELECT coalesce(min(first_failed_at), 'infinity') FROM message_failure))""",
    "DELETE FROM revoked_token WHERE expires_at < clock_timestamp() - interval '1 day'",
)


class Housekeeping:
    """One loop per worker. Rows of idempotency keys are looked past once expired, and replaced when reused."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> Any:
        while True:
            try:
                for statement in _STATEMENTS:
                    async with self._database.transaction(APP) as connection:
                        await connection.execute(text(statement))
            except Exception as error:
                if not is_outage(error):
                    log.exception("housekeeping stumbled")
            await asyncio.sleep(INTERVAL_S)

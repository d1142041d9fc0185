"""The separate processes under test: real Kafka, real PostgreSQL with fsync, usage through its topic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx

from libs.common.persistence.session import asyncpg_dsn
from tests.performance.events import Stream, meter_body
from tests.performance.load import Load, batch_load
from tests.support.fleet import Fleet

LOOK_EVERY_S = 0.05
TIMEOUT_S = 180

_COUNTED = """
    SELECT coalesce(sum(b.event_count), 0), coalesce(sum(b.total), 0)
    FROM usage_bucket b JOIN meter m ON m.id = b.meter_id
    WHERE m.code = $1 AND b.bucket_start >= $2 AND b.bucket_start < $3
"""


class Separate:
    """A fleet, seen as the measurements need it. Load goes to metering's API process itself, past the gateway."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def dsn(self, database: str = "postgres") -> str:
        """A superuser's."""
        return asyncpg_dsn(self.fleet.database_url(database))

    @asynccontextmanager
    async def admin(self, database: str = "perennial_metering") -> AsyncIterator[asyncpg.Connection[Any]]:
        connection = await asyncpg.connect(self.dsn(database))
        try:
            yield connection
        finally:
            await connection.close()

    async def define_meter(self, type: str) -> None:
        headers = {"authorization": f"Bearer {self.fleet.token}"}
        async with httpx.AsyncClient(base_url=self.fleet.base_url, headers=headers, timeout=60) as client:
            answer = await client.post("/v1/meters", json=meter_body(type))
            assert answer.status_code in (201, 409), answer.text

    def load(self, make: Callable[[], list[bytes]], **options: Any) -> Load:
        port = int(self.fleet.address("metering-api").rsplit(":", 1)[1])
        return batch_load(port, self.fleet.token, make, **options)

    async def until_counted(self, stream: Stream) -> float:
        """When all of its events were seen to be counted, by the monotonic clock."""
        give_up_at = time.monotonic() + TIMEOUT_S
        async with self.admin() as admin:
            while True:
                count, total = await admin.fetchrow(_COUNTED, stream.type, stream.starts_at, stream.ends_at)
                now = time.monotonic()
                if count == stream.event_count:
                    assert total == stream.total()
                    return now
                assert now < give_up_at, f"{count} of {stream.event_count} are counted"
                await asyncio.sleep(LOOK_EVERY_S)

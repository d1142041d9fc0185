"""One service's app on a database of its own, asked over HTTP with real tokens. Its workers do not run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from libs.common.access.keys import KeyFile
from libs.common.access.token import sign_token
from libs.common.clock import Clock, SystemClock
from libs.common.contracts.topics import Topic
from libs.common.messaging.bus import Bus, Record, Subscription
from libs.common.runtime import Platform, Service, running
from tests.support.postgres import PostgresForTests
from tests.support.service_database import ServiceDatabase, service_database

ORIGIN = "http://perennial.test"


class UnusedBus:
    """For a service whose workers do not run."""

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        raise AssertionError("the bus is not used here")

    async def publish(self, records: Sequence[Record]) -> None:
        raise AssertionError("the bus is not used here")

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> Subscription:
        raise AssertionError("the bus is not used here")

    async def end_offsets(self, topic: str) -> dict[int, int]:
        raise AssertionError("the bus is not used here")

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        raise AssertionError("the bus is not used here")

    async def offsets_at(self, topic: str, instant: datetime) -> dict[int, int]:
        raise AssertionError("the bus is not used here")

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        raise AssertionError("the bus is not used here")

    async def close(self) -> None:
        """Nothing was opened."""


@dataclass(frozen=True, slots=True)
class ServiceUnderTest:
    service: Service
    database: ServiceDatabase
    keys: KeyFile

    @property
    def parts(self) -> Any:
        return self.service.app.state.parts

    def token(self, tenant: str | None, *scopes: str, **claims: Any) -> str:
        return sign_token(
            self.keys.signing_key,
            tenant=tenant,
            scopes=scopes,
            now=datetime.now(UTC),
            lifetime_s=claims.pop("lifetime_s", 600),
            **claims,
        )

    def client(self, tenant: str | None, *scopes: str, **claims: Any) -> httpx.AsyncClient:
        """A client of this tenant with these scopes, under a token of its own."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.service.app),
            base_url=ORIGIN,
            headers={"authorization": f"Bearer {self.token(tenant, *scopes, **claims)}"},
        )


@asynccontextmanager
async def service_under_test(
    postgres: PostgresForTests,
    name: str,
    build: Callable[[Platform], Service],
    *,
    folder: Path,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
    peers: Mapping[str, str] | None = None,
    bus: Bus | None = None,
) -> AsyncIterator[ServiceUnderTest]:
    """Serving, until the block ends. `folder` is a private one, for the key file."""
    async with (
        service_database(postgres, name) as database,
        serving(
            database, name, build, folder=folder, clock=clock, environment=environment, peers=peers, bus=bus
        ) as service,
    ):
        yield service


@asynccontextmanager
async def serving(
    database: ServiceDatabase,
    name: str,
    build: Callable[[Platform], Service],
    *,
    folder: Path,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
    peers: Mapping[str, str] | None = None,
    bus: Bus | None = None,
) -> AsyncIterator[ServiceUnderTest]:
    """A process on a database that may have had others before: with the same `folder`, tokens stay good."""
    key_path = folder / "keys.json"
    keys = KeyFile.load_or_create(key_path)
    platform = Platform(
        bus=bus or UnusedBus(),
        clock=clock or SystemClock(),
        key_path=key_path,
        cursor_key=b"a cursor key for tests",
        environment=environment or {},
        peers=peers or {},
        member="test",
        api_dsn=lambda _: database.api_dsn,
        worker_dsn=lambda _: database.worker_dsn,
        audit_dsn=lambda _: database.audit_dsn,
    )
    service = build(platform)
    try:
        async with running(name, service.api_loops):
            await _until_ready(service)
            yield ServiceUnderTest(service, database, keys)
    finally:
        await service.close()


async def _until_ready(service: Service) -> None:
    transport = httpx.ASGITransport(app=service.app)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        for _ in range(500):
            answer = await client.get("/health/ready")
            if answer.status_code == 200:
                return
            await asyncio.sleep(0.02)
    raise AssertionError(f"not ready: {answer.text}")


def new_tenant() -> str:
    """A tenant that no other test has."""
    return str(uuid4())

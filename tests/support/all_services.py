"""All four services in one process, on databases and a bus of their own: asked through the one origin.

Nothing is replaced: the real embedded bus, real workers, real tokens. Requests of a test go straight into the
origin; the services ask each other over HTTP on a port of this machine, as they do elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import uvicorn

from deploy.local.origin import Origin
from deploy.local.process import build_services
from libs.common.access.keys import KeyFile
from libs.common.access.scopes import OPERATE, SCOPES
from libs.common.access.token import sign_token
from libs.common.clock import Clock, SystemClock
from libs.common.contracts import SERVICES
from libs.common.contracts.topics import TOPICS
from libs.common.ids import new_id
from libs.common.messaging.bus_migrations import install
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.persistence.session import asyncpg_dsn
from libs.common.runtime import Platform, Service, running
from tests.support.postgres import PostgresForTests
from tests.support.service_database import ServiceDatabase, service_database
from tests.support.service_under_test import new_tenant

ORIGIN = "http://perennial.test"
TENANT_SCOPES = tuple(scope for scope in SCOPES if scope != OPERATE)
BUS_PARTITIONS = 4
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class AllServices:
    """`base_url` is the same origin over HTTP, for whoever cannot be handed an app."""

    services: Mapping[str, Service]
    origin: Origin
    base_url: str
    databases: Mapping[str, ServiceDatabase]
    bus: EmbeddedBus
    keys: KeyFile

    def token(self, tenant: str | None, *scopes: str, **claims: Any) -> str:
        """Signed as the deployment signs: with all of a tenant's scopes, or an operator's, unless some are named."""
        return sign_token(
            self.keys.signing_key,
            tenant=tenant,
            scopes=scopes or (TENANT_SCOPES if tenant else (OPERATE,)),
            now=claims.pop("now", datetime.now(UTC)),
            lifetime_s=claims.pop("lifetime_s", 3600),
            **claims,
        )

    def client(self, tenant: str | None, *scopes: str, **claims: Any) -> httpx.AsyncClient:
        """A client under a token of its own."""
        return self.client_with(self.token(tenant, *scopes, **claims))

    def client_with(self, bearer: str | None, *, address: str = _HOST) -> httpx.AsyncClient:
        """A client that shows this token, or none, from this address."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.origin, client=(address, 40_000)),
            base_url=ORIGIN,
            headers={"authorization": f"Bearer {bearer}"} if bearer is not None else {},
            timeout=30,
        )

    async def make_tenant(self, name: str = "A tenant", *, mode: str = "sandbox") -> str:
        """A new tenant, through the public API."""
        tenant = new_tenant()
        async with self.client(None) as operator:
            headers = {"idempotency-key": new_id("key")}
            body = {"id": tenant, "name": name, "mode": mode}
            made = await operator.post("/v1/tenants", json=body, headers=headers)
        assert made.status_code == 201, made.text
        return tenant

    @asynccontextmanager
    async def admin(self, service: str) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A superuser's connection to a service's database: for looking, past all policies."""
        connection = await asyncpg.connect(asyncpg_dsn(self.databases[service].admin_dsn))
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def all_services(
    postgres: PostgresForTests,
    *,
    folder: Path,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[AllServices]:
    """Serving and working, until the block ends. `folder` is a private one, for the key file."""
    async with AsyncExitStack() as stack:
        databases = {
            name: await stack.enter_async_context(service_database(postgres, name)) for name in SERVICES
        }
        bus_dsn = await stack.enter_async_context(postgres.fresh_database("bus"))
        await _install_bus(bus_dsn)
        bus = EmbeddedBus(bus_dsn)
        stack.push_async_callback(bus.close)
        await bus.ensure_topics([replace(topic, partitions=BUS_PARTITIONS) for topic in TOPICS])

        listener = stack.enter_context(_listener())
        base_url = f"http://{_HOST}:{listener.getsockname()[1]}"
        key_path = folder / "keys.json"
        keys = KeyFile.load_or_create(key_path)
        services = build_services(
            Platform(
                bus=bus,
                clock=clock or SystemClock(),
                key_path=key_path,
                cursor_key=b"a cursor key for tests",
                environment=environment or {},
                peers=dict.fromkeys(SERVICES, base_url),
                member="test",
                api_dsn=lambda name: databases[name].api_dsn,
                worker_dsn=lambda name: databases[name].worker_dsn,
                audit_dsn=lambda name: databases[name].audit_dsn,
            )
        )
        for service in services:
            stack.push_async_callback(service.close)
        for service in services:
            await stack.enter_async_context(service.app.router.lifespan_context(service.app))
        origin = Origin(services)
        await stack.enter_async_context(_served(origin, listener))
        for service in services:
            loops = [*service.api_loops, *service.worker_loops]
            await stack.enter_async_context(running(service.name, loops))
        await _until_ready(origin)
        yield AllServices(
            services={service.name: service for service in services},
            origin=origin,
            base_url=base_url,
            databases=databases,
            bus=bus,
            keys=keys,
        )


async def _install_bus(dsn: str) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(dsn))
    try:
        await install(connection)
    finally:
        await connection.close()


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((_HOST, 0))
    return listener


@asynccontextmanager
async def _served(origin: Origin, listener: socket.socket) -> AsyncIterator[None]:
    """Over HTTP, without uvicorn's signal handlers: they belong to the test run."""
    config = uvicorn.Config(
        origin,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=60,  # a connection that is closed as a slow test takes it up again fails the test
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def _until_ready(origin: Origin) -> None:
    transport = httpx.ASGITransport(app=origin)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        for _ in range(500):
            answer = await client.get("/health/ready")
            if answer.status_code == 200:
                return
            await asyncio.sleep(0.02)
    raise AssertionError(f"not ready: {answer.text}")

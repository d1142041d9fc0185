"""All four services in one process, on one origin: their apps behind uvicorn, their workers as tasks."""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local.databases import Databases
from deploy.local.ops import ops_routes
from deploy.local.origin import Origin
from deploy.local.sandbox import ensure_sandbox
from deploy.local.settings import LocalSettings
from libs.common.access.keys import KeyFile
from libs.common.clock import SystemClock
from libs.common.contracts import SERVICES
from libs.common.contracts.topics import TOPICS
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.housekeeping import BusHousekeeping
from libs.common.runtime import Platform, Service, running
from libs.common.serving.garbage import keep_what_is_built
from libs.common.serving.http import listen, served
from libs.common.serving.platform import cursor_key
from libs.common.telemetry import TraceRing, sample_loop_lag, setup_tracing
from libs.common.web.app import lanes_of


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves: where, and with which keys."""

    base_url: str
    key_path: Path


def build_services(platform: Platform) -> list[Service]:
    """Each service by its own bootstrap; none knows of the others."""
    return [importlib.import_module(f"services.{name}.bootstrap").build(platform) for name in SERVICES]


@asynccontextmanager
async def serve(settings: LocalSettings, databases: Databases) -> AsyncIterator[Running]:
    """Serve until the block is left. The databases run and are migrated."""
    clock = SystemClock()
    tracing = setup_tracing(record_sql=settings.record_sql_spans)
    key_path = settings.var_folder / "keys.json"
    keys = KeyFile.load_or_create(key_path)
    listener = listen(settings.host, settings.port)
    base_url = f"http://{settings.host}:{listener.getsockname()[1]}"
    bus = EmbeddedBus(databases.bus_dsn)
    platform = Platform(
        bus=bus,
        clock=clock,
        key_path=key_path,
        cursor_key=cursor_key(keys.signing_key.kid),
        environment={"PERENNIAL_BILLING_MAIL_FOLDER": str(settings.var_folder / "mail"), **os.environ},
        peers=dict.fromkeys(SERVICES, base_url),
        member="local",
        api_dsn=databases.api_dsn,
        worker_dsn=databases.worker_dsn,
        audit_dsn=databases.audit_dsn,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
        stack.push_async_callback(bus.close)
        await bus.ensure_topics([replace(topic, partitions=settings.bus_partitions) for topic in TOPICS])
        await stack.enter_async_context(running("", [BusHousekeeping(bus, clock).run, sample_loop_lag]))
        services = build_services(platform)
        for service in services:
            stack.push_async_callback(service.close)
        await stack.enter_async_context(_http(services, listener, tracing.ring))
        for service in services:
            loops = [*service.api_loops, *service.worker_loops]
            await stack.enter_async_context(running(service.name, loops, stopping=platform.stopping))
        keep_what_is_built()
        await ensure_sandbox(base_url, key_path, now=clock.system_now())
        yield Running(base_url, key_path)


@asynccontextmanager
async def _http(services: list[Service], listener: socket.socket, ring: TraceRing) -> AsyncIterator[None]:
    """One uvicorn for all."""
    async with AsyncExitStack() as stack:
        for service in services:
            await stack.enter_async_context(service.app.router.lifespan_context(service.app))
        origin = Origin(services, routes=ops_routes(ring, services[0]))
        await stack.enter_async_context(
            served(origin, listener, lanes=lanes_of(service.app for service in services))
        )
        yield

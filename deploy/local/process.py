"""All four services in one process, on one origin: their apps behind uvicorn, their workers as tasks."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import importlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from deploy.local.databases import Databases
from deploy.local.ops import ops_routes
from deploy.local.origin import Origin
from deploy.local.sandbox import ensure_sandbox
from deploy.local.settings import LocalSettings
from libs.common.access.keys import KeyFile
from libs.common.clock import SystemClock
from libs.common.contracts import SERVICES, topic_of
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.housekeeping import BusHousekeeping
from libs.common.runtime import Platform, Service, running
from libs.common.telemetry import TraceRing, setup_tracing


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
    listener = _listen(settings)
    base_url = f"http://{settings.host}:{listener.getsockname()[1]}"
    bus = EmbeddedBus(databases.bus_dsn)
    platform = Platform(
        bus=bus,
        clock=clock,
        key_path=key_path,
        cursor_key=hashlib.blake2b(keys.signing_key.kid.encode(), digest_size=32).digest(),
        environment=dict(os.environ),
        peers=dict.fromkeys(SERVICES, base_url),
        member="local",
        api_dsn=databases.api_dsn,
        worker_dsn=databases.worker_dsn,
        audit_dsn=databases.audit_dsn,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
        stack.push_async_callback(bus.close)
        await bus.ensure_topics({topic_of(name): settings.bus_partitions for name in SERVICES})
        await stack.enter_async_context(running("", [BusHousekeeping(bus, clock).run]))
        services = build_services(platform)
        for service in services:
            stack.push_async_callback(service.close)
        await stack.enter_async_context(_http(services, listener, tracing.ring))
        for service in services:
            loops = [*service.api_loops, *service.worker_loops]
            await stack.enter_async_context(running(service.name, loops))
        gc.collect()
        gc.freeze()  # what was built stays: looking through it again would hold the loop for a third of a second
        await ensure_sandbox(base_url, key_path, now=clock.system_now())
        yield Running(base_url, key_path)


def _listen(settings: LocalSettings) -> socket.socket:
    # asyncio sends answers without delay only on sockets that say they are TCP: else each waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    return listener


@asynccontextmanager
async def _http(services: list[Service], listener: socket.socket, ring: TraceRing) -> AsyncIterator[None]:
    """One uvicorn for all. Its own signal handlers are left out: the process decides when it stops."""
    async with AsyncExitStack() as stack:
        for service in services:
            await stack.enter_async_context(service.app.router.lifespan_context(service.app))
        origin = Origin(services, routes=ops_routes(ring, services[0]))
        config = uvicorn.Config(
            origin, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def until_told(stopped: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopped()
        event.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield event
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

"""`python -m services.<service>.entrypoints.api` and `….worker`: from the environment to a process that serves.

A process starts whether or not its database and its bus are there yet, says by its readiness whether they are,
and waits. SIGTERM ends it: what was asked is answered, what was begun is finished, nothing stays claimed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from socket import socket
from typing import Any

import uvloop
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from libs.common.access.tenancy import API_LOGIN, WORKER_LOGIN
from libs.common.errors import ServiceError
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.housekeeping import BusHousekeeping
from libs.common.runtime import Loop, Parts, Platform, Service, running
from libs.common.serving.garbage import keep_what_is_built
from libs.common.serving.http import listen, served, until_told
from libs.common.serving.opening import Opening
from libs.common.serving.origin import Origin
from libs.common.serving.platform import bus_of, platform_of
from libs.common.serving.settings import ProcessSettings
from libs.common.stopping import ended_by
from libs.common.telemetry import (
    metrics_app,
    sample_loop_lag,
    setup_logging,
    setup_tracing,
    within_service,
)
from libs.common.web.app import lanes_of
from libs.common.web.health import health_routes
from libs.common.web.hot_route import HotLane

RING_BYTES = 1_000_000  # nobody reads it: traces of separate processes go to a collector
log = logging.getLogger(__name__)

Build = Callable[[Platform], Service]
Process = Callable[[str, Build, ProcessSettings], AbstractAsyncContextManager[None]]


def run_api(service: str, build: Build) -> int:
    """Serve the service's app until SIGTERM. Exit code 1: it could not start."""
    return _run(service, build, api_process)


def run_worker(service: str, build: Build) -> int:
    """Run the service's relay, consumer and schedules until SIGTERM. Exit code 1: it could not start."""
    return _run(service, build, worker_process)


def _run(service: str, build: Build, process: Process) -> int:
    try:
        settings = ProcessSettings.of_service(service, os.environ)
        setup_logging(level=settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_told(service, build, process, settings))
    except (ServiceError, OSError) as error:
        print(f"perennial: {service} could not start: {error}", file=sys.stderr)
        if isinstance(error, ServiceError) and error.remedy:
            print(f"           {error.remedy}", file=sys.stderr)
        return 1
    return 0


async def _until_told(service: str, build: Build, process: Process, settings: ProcessSettings) -> None:
    async with until_told(lambda: log.info("stopping")) as told, process(service, build, settings):
        keep_what_is_built()
        await told.wait()
    log.info("stopped")


@asynccontextmanager
async def api_process(service: str, build: Build, settings: ProcessSettings) -> AsyncIterator[None]:
    """Serve the app while the block runs. Raises: ServiceError, OSError."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        built = await _built(stack, service, build, settings, login=API_LOGIN)
        origin = Origin(settings.peers_url)
        stack.push_async_callback(origin.close)
        built.app.router.routes.extend(origin.routes())
        await stack.enter_async_context(built.app.router.lifespan_context(built.app))
        await stack.enter_async_context(_loops(built, built.api_loops, settings))
        app = within_service(built.app, service)
        await stack.enter_async_context(_http(app, listener, settings, lanes=lanes_of([built.app])))
        yield


@asynccontextmanager
async def worker_process(service: str, build: Build, settings: ProcessSettings) -> AsyncIterator[None]:
    """Work while the block runs; over HTTP it tells its health and its metrics. Raises: ServiceError, OSError."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        built = await _built(stack, service, build, settings, login=WORKER_LOGIN)
        parts: Parts[Any] = built.app.state.parts
        opening = Opening(parts.worker_database, parts.platform.stopping)
        routes = [*health_routes(opening.readiness), Route("/metrics", metrics_app)]
        await stack.enter_async_context(
            _http(within_service(Starlette(routes=routes), service), listener, settings)
        )
        work = [*built.worker_loops, *_bus_loops(parts.platform)]
        await stack.enter_async_context(_loops(built, opening.loops(work), settings))
        yield


async def _built(
    stack: AsyncExitStack, service: str, build: Build, settings: ProcessSettings, *, login: str
) -> Service:
    """The service on parts of its own. What was opened for it is closed with the stack."""
    member = settings.member_of(service)
    tracing = setup_tracing(
        ring_memory_max_bytes=RING_BYTES, record_sql=settings.record_sql_spans, instance=member
    )
    stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
    await stack.enter_async_context(running(service, [sample_loop_lag]))
    bus = bus_of(settings, login=login, client=member)
    stack.push_async_callback(bus.close)
    built = build(platform_of(service, settings, os.environ, bus=bus))
    stack.push_async_callback(built.close)
    return built


def _bus_loops(platform: Platform) -> list[Loop]:
    """The embedded bus must be trimmed by somebody; a Kafka does that by itself."""
    if not isinstance(platform.bus, EmbeddedBus):
        return []
    return [ended_by(platform.stopping, BusHousekeeping(platform.bus, platform.clock).run)]


def _loops(
    built: Service, loops: Sequence[Loop], settings: ProcessSettings
) -> AbstractAsyncContextManager[None]:
    platform: Platform = built.app.state.platform
    return running(built.name, loops, stopping=platform.stopping, grace_s=settings.stop_grace_s)


def _http(
    app: ASGIApp, listener: socket, settings: ProcessSettings, *, lanes: Sequence[HotLane] = ()
) -> AbstractAsyncContextManager[None]:
    return served(
        app,
        listener,
        lanes=lanes,
        trusted_proxies=settings.trusted_proxies,
        grace_s=settings.stop_grace_s,
    )

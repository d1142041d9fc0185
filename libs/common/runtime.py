"""What a process gives to a service, and what a service gives back: an app to serve and loops to run.

`assemble` joins what is the same in all four, so that a service's bootstrap names only what is its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from fastapi import FastAPI
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.routing import BaseRoute

from libs.common.access.caller import Caller
from libs.common.access.issuers import Issuer
from libs.common.access.revocation import RevokedTokens
from libs.common.access.tenancy import APP
from libs.common.access.token import TokenVerifier
from libs.common.clock import Clock
from libs.common.messaging.alarm import Alarm
from libs.common.messaging.bus import Bus
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.due import Job, Scheduler
from libs.common.messaging.failures import Failures
from libs.common.messaging.handlers import HandlerGroup
from libs.common.messaging.housekeeping import Housekeeping
from libs.common.messaging.relay import Relay
from libs.common.messaging.replay import Replays
from libs.common.messaging.watch import Watch
from libs.common.persistence.audit import AuditReport, open_audit, things_in
from libs.common.persistence.machinery import Machinery
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitOfWork, UnitsOfWork
from libs.common.stopping import Stopping, ended_by
from libs.common.telemetry import TraceBudget, instrument_app, metrics, metrics_app, service_scope
from libs.common.web.app import create_app
from libs.common.web.hot_route import HotRoute
from libs.common.web.late_routes import LateRouter
from libs.common.web.limits import Limits
from libs.common.web.operations import operations_router

log = logging.getLogger(__name__)

U = TypeVar("U", bound=UnitOfWork)

Loop = Callable[[], Awaitable[None]]

GRACE_S = 20.0
CANCEL_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Platform:
    """Parts that services share within a process; each process makes its own.

    `environment` is what settings are read from. `peers` maps a service to the base address under which it
    answers. `member` names this process within its consumer groups, the same after a restart. The three
    addresses of a service's database log in as api, worker and audit. `stopping` is set when the process ends:
    loops that hold work then finish it.
    """

    bus: Bus
    clock: Clock
    key_path: Path
    cursor_key: bytes
    environment: Mapping[str, str]
    peers: Mapping[str, str]
    member: str
    api_dsn: Callable[[str], str]
    worker_dsn: Callable[[str], str]
    audit_dsn: Callable[[str], str]
    issuers: Sequence[Issuer] = ()
    pool_size: int = 4
    stopping: Stopping = field(default_factory=Stopping)


@dataclass(frozen=True, slots=True)
class Service:
    """One of the four. `api_loops` run wherever its app is served, `worker_loops` in its worker processes.

    Each ends by itself once the platform's `stopping` is set.
    """

    name: str
    app: FastAPI
    api_loops: Sequence[Loop]
    worker_loops: Sequence[Loop]
    verify: Callable[[str], Awaitable[Caller]]
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parts(Generic[U]):
    """What a bootstrap has before it makes its jobs, routes and loops."""

    name: str
    platform: Platform
    api_database: Database
    worker_database: Database
    audit_database: Database
    api_units: UnitsOfWork[U]
    worker_units: UnitsOfWork[U]
    alarm: Alarm = field(default_factory=Alarm)


def parts_of(name: str, platform: Platform, make_uow: Callable[[AsyncConnection], U]) -> Parts[U]:
    """Open the three logins to the service's database; nothing connects before it is used."""
    api = Database(platform.api_dsn(name), pool_size=platform.pool_size)
    worker = Database(platform.worker_dsn(name), pool_size=platform.pool_size)
    audit = Database(platform.audit_dsn(name), pool_size=1)
    for login, database in (("api", api), ("worker", worker), ("audit", audit)):
        metrics.database_connections(
            name, login, in_use=database.connections_in_use, count_max=database.connections_max
        )
    return Parts(
        name=name,
        platform=platform,
        api_database=api,
        worker_database=worker,
        audit_database=audit,
        api_units=UnitsOfWork(api, make_uow),
        worker_units=UnitsOfWork(worker, make_uow),
    )


def assemble(
    parts: Parts[U],
    *,
    title: str,
    description: str,
    machinery: Machinery,
    handlers: HandlerGroup[U],
    routers: Sequence[LateRouter],
    audit: Callable[[Database], Awaitable[AuditReport]],
    listings: Mapping[str, str] | None = None,
    jobs: Sequence[Job] = (),
    due_tables: Sequence[Table] = (),
    routes: Sequence[BaseRoute] = (),
    limits: Limits | None = None,
    hot_routes: Sequence[HotRoute] = (),
    state: Mapping[str, object] | None = None,
    api_loops: Sequence[Loop] = (),
    worker_loops: Sequence[Loop] = (),
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    traces: Mapping[str, TraceBudget] | None = None,
    overdue: Mapping[str, Callable[[str, int], None]] | None = None,
    other_groups: Sequence[str] = (),
    open_prefixes: tuple[str, ...] = (),
) -> Service:
    """The service: its app with the operators' routes, its relay, consumer, scheduler and housekeeping.

    The loops given here must end by themselves once the platform's `stopping` is set (`ended_by` does it for those
    that hold nothing). `traces` bounds how many requests of hot routes have their spans recorded. `overdue` names
    the gauge of a table with due rows. `listings` are what an audit compares with other services, in SQL.
    `other_groups` have consumers of their own, and dead letters that operators see here. Under `open_prefixes` callers
    prove themselves otherwise than by a token.
    """
    platform = parts.platform
    revoked = RevokedTokens(lambda: _revocations(parts.api_database, machinery))
    verifier = TokenVerifier(
        platform.key_path, issuers=platform.issuers, revoked=revoked, clock=platform.clock
    )

    async def readiness() -> Mapping[str, bool]:
        async with parts.api_database.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return {"database": True, "revoked_tokens": revoked.loaded}

    async def list_things(name: str, bucket: int, after: str) -> list[str]:
        async with open_audit(parts.audit_database) as connection:
            return await things_in(connection, (listings or {})[name], bucket, after)

    operations = operations_router(
        parts.name,
        failures=Failures(parts.api_units, handlers.name, also=other_groups),
        replays=Replays(bus=platform.bus, group=handlers.name, topics=handlers.topics),
        due_tables=due_tables,
        audit=lambda: audit(parts.audit_database),
        listings=tuple(listings or ()),
        list_things=list_things,
    )
    app = create_app(
        service=parts.name,
        title=title,
        description=description,
        routers=[*routers, operations],
        verifier=verifier,
        readiness=readiness,
        open_uow=parts.api_units.open,
        cursor_key=platform.cursor_key,
        limits=limits,
        hot_routes=hot_routes,
        routes=routes,
        open_prefixes=open_prefixes,
        metrics_app=metrics_app,
        state={"platform": platform, "parts": parts, **(state or {})},
        lifespan=lifespan,
    )
    instrument_app(app, parts.name, traces=traces)
    consumer = Consumer(
        service=parts.name,
        group=handlers,
        bus=platform.bus,
        units=parts.worker_units,
        member=platform.member,
        wake=[parts.alarm],
        stopping=platform.stopping,
    )
    relay = Relay(
        service=parts.name,
        dsn=parts.worker_database.dsn,
        role=APP,
        bus=platform.bus,
        wake=[parts.alarm],
        stopping=platform.stopping,
    )
    scheduler = Scheduler(jobs, alarm=parts.alarm, stopping=platform.stopping)
    watch = Watch(
        service=parts.name,
        group=handlers.name,
        topics=handlers.topics,
        bus=platform.bus,
        units=parts.worker_units,
        clock=platform.clock,
        due_tables=due_tables,
        overdue=overdue or {},
    )

    async def close() -> None:
        await verifier.close()
        for database in (parts.api_database, parts.worker_database, parts.audit_database):
            await database.close()

    return Service(
        name=parts.name,
        app=app,
        api_loops=(ended_by(platform.stopping, revoked.run), *api_loops),
        worker_loops=(
            relay.run,
            consumer.run,
            consumer.run_retries,
            scheduler.run,
            ended_by(platform.stopping, Housekeeping(parts.worker_database).run),
            ended_by(platform.stopping, watch.run),
            *worker_loops,
        ),
        verify=verifier.verify,
        close=close,
    )


async def _revocations(database: Database, machinery: Machinery) -> list[str]:
    async with database.transaction(APP) as connection:
        return list((await connection.execute(select(machinery.revoked_token.c.token_id))).scalars())


@asynccontextmanager
async def running(
    service: str, loops: Sequence[Loop], *, stopping: Stopping | None = None, grace_s: float = GRACE_S
) -> AsyncIterator[None]:
    """Run the loops while the block runs. A loop that fails is a mistake of ours: it starts again.

    On leaving the block, `stopping` is set, and the loops have `grace_s` to finish what they hold; what has not
    ended by then is canceled, and what it held falls to whoever comes next, as after a kill. Loops that are given
    without `stopping` are canceled at once.
    """
    told = stopping or Stopping()

    async def forever(loop: Loop) -> None:
        while not told.is_set():
            try:
                await loop()
            except Exception:
                log.exception("loop failed", extra={"loop": _name_of(loop)})
            await told.pause(1)

    with service_scope(service):
        tasks = {asyncio.create_task(forever(loop)): loop for loop in loops}
    try:
        yield
    finally:
        told.set()
        try:
            if stopping is not None and tasks:
                _, late = await asyncio.wait(tasks, timeout=grace_s)
                for task in late:
                    log.warning("loop did not end in time", extra={"loop": _name_of(tasks[task])})
        finally:
            await _end(tasks)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks until they have ended: what a task waits for may come as it is canceled, and hide that it was."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


def _name_of(loop: Loop) -> str:
    return getattr(loop, "__qualname__", repr(loop))

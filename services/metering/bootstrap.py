"""The one place where metering's parts are joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.messaging.bus import Bus, BusUnavailable
from libs.common.persistence.audit import AuditReport
from libs.common.persistence.session import Database
from libs.common.runtime import Loop, Parts, Platform, Service, assemble, parts_of
from libs.common.telemetry import TraceBudget
from libs.common.web.limits import BodyBudget, Limits
from services.metering.adapters.audit import audit_metering
from services.metering.adapters.rows import DUE_TABLES, shared
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.adapters.usage_months import UsageMonths
from services.metering.adapters.usage_offsets import USAGE_GROUP
from services.metering.domain.usage_event import AcceptWindow
from services.metering.entrypoints import (
    routes_meters,
    routes_readings,
    routes_usage,
    routes_usage_alerts,
    routes_usage_corrections,
    routes_usage_events,
    routes_usage_rejects,
    routes_usage_retention,
    routes_usage_segments,
    routes_usage_so_far,
    routes_usage_windows,
    routes_window_previews,
)
from services.metering.entrypoints.back_filling import BackFilling
from services.metering.entrypoints.balance_notes import note_all_at_start
from services.metering.entrypoints.dependencies import Ingest
from services.metering.entrypoints.event_handlers import handlers
from services.metering.entrypoints.ingest_queue import IngestQueue
from services.metering.entrypoints.reading_turns import ReadingTurns
from services.metering.entrypoints.scheduler import jobs
from services.metering.entrypoints.sealing import Sealing, SealingBell
from services.metering.entrypoints.usage_consumer import UsageConsumer
from services.metering.entrypoints.usage_publisher import UsagePublisher
from services.metering.entrypoints.usage_request import RequestLimits
from services.metering.settings import MeteringSettings, UsageSettings

NAME = "metering"
DESCRIPTION = """What was used: meters, usage events counted exactly once, and the usage of each billing period.

Events are CloudEvents. They are facts first: meters may be defined, and subjects bound, after them."""
INGEST_PATHS = (routes_usage_events.PATH, routes_usage_events.OPENMETER_PATH)
# Requests that send usage events and have their spans recorded, of those that bring no recorded trace of their own.
INGEST_TRACES_PER_S, INGEST_TRACES_BURST = 5, 50
BODIES_AT_ONCE = 2  # of the longest: while one is stored, the other is read


def build(platform: Platform) -> Service:
    """Metering: its app, and the workers that hear of subscriptions and close usage windows."""
    settings = MeteringSettings.from_environment(platform.environment)
    parts = parts_of(NAME, platform, MeteringUnitOfWork)
    accept = _accept_window(settings)
    months = UsageMonths(parts.api_database)
    queue = _queue(parts, settings, accept, months)
    traces = TraceBudget(per_s=INGEST_TRACES_PER_S, burst=INGEST_TRACES_BURST)
    usage = UsageConsumer(
        service=NAME,
        bus=platform.bus,
        units=parts.worker_units,
        months=UsageMonths(parts.worker_database),
        clock=platform.clock,
        accept=accept,
        member=platform.member,
        stopping=platform.stopping,
        results_kept=timedelta(days=settings.results_kept_days),
        writers=settings.writers,
        commit_events_max=settings.commit_events_max,
        wake=[parts.alarm],
    )

    filling = BackFilling(parts.worker_units, platform.clock, service=NAME, stopping=platform.stopping)

    sealing = Sealing(parts.worker_units, platform.clock, service=NAME, stopping=platform.stopping)

    async def audit(database: Database) -> AuditReport:
        return await audit_metering(database, usage_ends=await _usage_ends(platform.bus))

    limits = RequestLimits(settings.request_events_max, settings.request_bytes_max)
    bodies = BodyBudget(settings.queue_bytes_max)
    turns = ReadingTurns(BODIES_AT_ONCE * settings.request_bytes_max)
    ingest = Ingest(queue, platform.clock, limits, accept, months, bodies, turns)
    service = assemble(
        parts,
        title="Perennial metering",
        description=DESCRIPTION,
        machinery=shared,
        handlers=handlers(grace=timedelta(seconds=settings.grace_s)),
        routers=(
            routes_meters.router,
            routes_usage_events.router,
            routes_usage_corrections.router,
            routes_usage_rejects.router,
            routes_usage.router,
            routes_usage_so_far.router,
            routes_usage_windows.router,
            routes_usage_segments.router,
            routes_usage_windows.corrections_router,
            routes_usage_alerts.router,
            routes_usage_retention.router,
            routes_readings.router,
            routes_window_previews.router,
        ),
        audit=audit,
        jobs=(
            *jobs(parts.worker_units, platform.clock, platform.bus, raw_kept_days=settings.raw_kept_days),
            SealingBell(sealing),
        ),
        # Whatever the setting says: what was sent through the topic before it was changed is stored, too.
        worker_loops=(
            usage.run,
            usage.run_retries,
            filling.run,
            sealing.run,
            _noting_balances(parts, parts.worker_database),
        ),
        api_loops=(_noting_balances(parts, parts.api_database),),
        other_groups=(USAGE_GROUP,),
        due_tables=DUE_TABLES,
        limits=Limits(
            body_bytes_max_by_prefix=dict.fromkeys(INGEST_PATHS, settings.request_bytes_max),
            raw_body_prefixes=INGEST_PATHS,
        ),
        hot_routes=(routes_usage_events.hot_route(ingest, traces),),
        traces=dict.fromkeys(INGEST_PATHS, traces),
        state={"settings": settings, "ingest": ingest},
    )
    return _closing_after(service, queue)


def _noting_balances(parts: Parts[MeteringUnitOfWork], database: Database) -> Loop:
    """Whoever stores usage may have been killed before it was noted whose it was: each process begins with all."""

    async def begin() -> None:
        await note_all_at_start(database, parts.platform.stopping)

    return begin


def _accept_window(settings: MeteringSettings) -> AcceptWindow:
    past_s = settings.accept_past_s
    return AcceptWindow(
        past=None if past_s is None else timedelta(seconds=past_s),
        future=timedelta(seconds=settings.accept_future_s),
    )


def _queue(
    parts: Parts[MeteringUnitOfWork], settings: MeteringSettings, accept: AcceptWindow, months: UsageMonths
) -> IngestQueue | UsagePublisher:
    platform = parts.platform
    if UsageSettings.from_environment(platform.environment).ingest == "kafka":
        return UsagePublisher(
            platform.bus,
            service=NAME,
            accept=accept,
            publish_events_max=settings.commit_events_max,
            queue_events_max=settings.queue_events_max,
        )
    return IngestQueue(
        parts.api_units,
        months,
        service=NAME,
        accept=accept,
        writers=settings.writers,
        commit_events_max=settings.commit_events_max,
        queue_events_max=settings.queue_events_max,
        wake=[parts.alarm],
        clock=platform.clock,
    )


async def _usage_ends(bus: Bus) -> Mapping[int, int] | None:
    """How far the usage topic reaches; None while nobody can tell."""
    try:
        return await bus.end_offsets(USAGE_TOPIC)
    except BusUnavailable:
        return None


def _closing_after(service: Service, queue: IngestQueue | UsagePublisher) -> Service:
    """What was taken in is stored before the connections are closed."""

    async def close() -> None:
        await queue.close()
        await service.close()

    return replace(service, close=close)

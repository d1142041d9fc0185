"""The one place where metering's parts are joined."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from libs.common.runtime import Platform, Service, assemble, parts_of
from libs.common.web.limits import Limits
from services.metering.adapters.audit import audit_metering
from services.metering.adapters.rows import DUE_TABLES, shared
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.adapters.usage_months import UsageMonths
from services.metering.domain.usage_event import AcceptWindow
from services.metering.entrypoints import (
    routes_meters,
    routes_usage,
    routes_usage_events,
    routes_usage_windows,
)
from services.metering.entrypoints.dependencies import Ingest
from services.metering.entrypoints.event_handlers import handlers
from services.metering.entrypoints.ingest_queue import IngestQueue
from services.metering.entrypoints.scheduler import jobs
from services.metering.entrypoints.usage_request import RequestLimits
from services.metering.settings import MeteringSettings

NAME = "metering"
DESCRIPTION = """What was used: meters, usage events counted exactly once, and the usage of each billing period.

Events are CloudEvents. They are facts first: meters may be defined, and subjects bound, after them."""


def build(platform: Platform) -> Service:
    """Metering: its app, and the workers that hear of subscriptions and close usage windows."""
    settings = MeteringSettings.from_environment(platform.environment)
    parts = parts_of(NAME, platform, MeteringUnitOfWork)
    past_s = settings.accept_past_s
    queue = IngestQueue(
        parts.api_units,
        UsageMonths(parts.api_database),
        service=NAME,
        accept=AcceptWindow(
            past=None if past_s is None else timedelta(seconds=past_s),
            future=timedelta(seconds=settings.accept_future_s),
        ),
        writers=settings.writers,
        commit_events_max=settings.commit_events_max,
        queue_events_max=settings.queue_events_max,
    )
    service = assemble(
        parts,
        title="Perennial metering",
        description=DESCRIPTION,
        machinery=shared,
        handlers=handlers(grace=timedelta(seconds=settings.grace_s)),
        routers=(
            routes_meters.router,
            routes_usage_events.router,
            routes_usage.router,
            routes_usage_windows.router,
        ),
        audit=audit_metering,
        jobs=jobs(parts.worker_units, platform.clock, platform.bus),
        due_tables=DUE_TABLES,
        limits=Limits(
            body_bytes_max_by_prefix={routes_usage_events.PATH: settings.request_bytes_max},
            raw_body_prefixes=(routes_usage_events.PATH,),
        ),
        state={
            "settings": settings,
            "ingest": Ingest(
                queue,
                platform.clock,
                RequestLimits(settings.request_events_max, settings.request_bytes_max),
            ),
        },
    )
    return _closing_after(service, queue)


def _closing_after(service: Service, queue: IngestQueue) -> Service:
    """What was taken in is stored before the connections are closed."""

    async def close() -> None:
        await queue.close()
        await service.close()

    return replace(service, close=close)

"""What the routes ask for: who calls, with which scope, the clock, and the ingest path.

The providers are coroutines, although they wait for nothing: a plain function would cost a thread's turn each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from libs.common.clock import Clock
from libs.common.messaging.bus import Bus
from libs.common.web.calls import Call, authorised
from libs.common.web.limits import BodyBudget
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.adapters.usage_months import UsageMonths
from services.metering.domain.usage_event import AcceptWindow
from services.metering.entrypoints.ingest_queue import IngestQueue
from services.metering.entrypoints.reading_turns import ReadingTurns
from services.metering.entrypoints.usage_publisher import UsagePublisher
from services.metering.entrypoints.usage_request import BodyHold, RequestLimits
from services.metering.settings import MeteringSettings

WRITE_SCOPE = "usage:write"


async def _clock(request: Request) -> Clock:
    clock: Clock = request.app.state.platform.clock
    return clock


@dataclass(frozen=True, slots=True)
class Ingest:
    """What the ingest path needs. With a publisher as its queue, events go through the usage topic.

    What is corrected is stored by the request itself, in months that it makes sure of.
    """

    queue: IngestQueue | UsagePublisher
    clock: Clock
    limits: RequestLimits
    accept: AcceptWindow
    months: UsageMonths
    bodies: BodyBudget
    turns: ReadingTurns

    @property
    def is_through_topic(self) -> bool:
        return isinstance(self.queue, UsagePublisher)

    def hold(self) -> BodyHold:
        """For the body of one request."""
        return BodyHold(self.bodies, self.turns)


def ingest_of(request: Request) -> Ingest:
    ingest: Ingest = request.app.state.ingest
    return ingest


async def _bus(request: Request) -> Bus:
    bus: Bus = request.app.state.platform.bus
    return bus


async def _settings(request: Request) -> MeteringSettings:
    settings: MeteringSettings = request.app.state.settings
    return settings


BusDep = Annotated[Bus, Depends(_bus)]
ClockDep = Annotated[Clock, Depends(_clock)]
SettingsDep = Annotated[MeteringSettings, Depends(_settings)]

ReadCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:read")]
PortalReadCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:read", portal=True)]
WriteCall = Annotated[Call[MeteringUnitOfWork], authorised(WRITE_SCOPE)]
MakeCall = Annotated[Call[MeteringUnitOfWork], authorised(WRITE_SCOPE, once="optional")]

"""What the routes ask for: who calls, with which scope, the clock, and the queue of what is to be stored."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from libs.common.clock import Clock
from libs.common.web.calls import Call, authorised
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.entrypoints.ingest_queue import IngestQueue
from services.metering.settings import MeteringSettings


def _clock(request: Request) -> Clock:
    clock: Clock = request.app.state.platform.clock
    return clock


def _queue(request: Request) -> IngestQueue:
    queue: IngestQueue = request.app.state.ingest_queue
    return queue


def _settings(request: Request) -> MeteringSettings:
    settings: MeteringSettings = request.app.state.settings
    return settings


ClockDep = Annotated[Clock, Depends(_clock)]
QueueDep = Annotated[IngestQueue, Depends(_queue)]
SettingsDep = Annotated[MeteringSettings, Depends(_settings)]

ReadCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:read")]
PortalReadCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:read", portal=True)]
WriteCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:write")]
MakeCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:write", once="optional")]

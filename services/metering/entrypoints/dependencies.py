"""What the routes ask for: who calls, with which scope, the clock, and the queue of what is to be stored.

The providers are coroutines, although they wait for nothing: a plain function would cost a thread's turn each.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from libs.common.clock import Clock
from libs.common.web.calls import Call, authorised
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.entrypoints.ingest_queue import IngestQueue
from services.metering.settings import MeteringSettings


async def _clock(request: Request) -> Clock:
    clock: Clock = request.app.state.platform.clock
    return clock


async def _queue(request: Request) -> IngestQueue:
    queue: IngestQueue = request.app.state.ingest_queue
    return queue


async def _settings(request: Request) -> MeteringSettings:
    settings: MeteringSettings = request.app.state.settings
    return settings


ClockDep = Annotated[Clock, Depends(_clock)]
QueueDep = Annotated[IngestQueue, Depends(_queue)]
SettingsDep = Annotated[MeteringSettings, Depends(_settings)]

ReadCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:read")]
PortalReadCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:read", portal=True)]
WriteCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:write")]
MakeCall = Annotated[Call[MeteringUnitOfWork], authorised("usage:write", once="optional")]

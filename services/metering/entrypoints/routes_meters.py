"""Routes of meters."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application import queries
from services.metering.application.define_meter import define_meter
from services.metering.application.define_meter_version import DefineMeterVersion, define_meter_version
from services.metering.domain.meter import Meter
from services.metering.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, SettingsDep
from services.metering.entrypoints.meter_bodies import (
    MeterBody,
    MeterCreateBody,
    MeterId,
    MeterVersionCreateBody,
)
from services.metering.entrypoints.usage_event_bodies import EventType

router = LateRouter(prefix="/v1/meters", tags=["meters"])


@router.post("", status_code=201, response_model=MeterBody, summary="Define a meter")
async def post_meter(
    body: MeterCreateBody, call: MakeCall, clock: ClockDep, settings: SettingsDep
) -> Response:
    """Events of its type that are stored already count as well, as far as the meter can read them."""
    command = body.to_command(bucket_s=settings.bucket_s)

    async def work(uow: MeteringUnitOfWork) -> MeterBody:
        return await _shown(await define_meter(command, uow=uow, clock=clock), uow)

    return await call.once(work, location=lambda made: f"/v1/meters/{made.id}")


@router.get("", response_model=Page[MeterBody], summary="List meters")
async def list_meters(
    call: ReadCall,
    page: PageDep,
    code: Annotated[Code | None, Query()] = None,
    event_type: Annotated[EventType | None, Query()] = None,
) -> Response:
    async def work(uow: MeteringUnitOfWork) -> Slice[MeterBody]:
        found = await queries.list_meters(page, code=code, event_type=event_type, uow=uow)
        return found.map(MeterBody.from_view)

    return await call.page(work)


@router.get("/{meter_id}", response_model=MeterBody, summary="Show a meter")
async def get_meter(meter_id: MeterId, call: ReadCall) -> Response:
    async def work(uow: MeteringUnitOfWork) -> MeterBody:
        return MeterBody.from_view(await queries.get_meter(meter_id, uow=uow))

    return await call.read(work)


@router.post(
    "/{meter_id}/versions", status_code=201, response_model=MeterBody, summary="Define a meter's next version"
)
async def post_meter_version(
    meter_id: MeterId, body: MeterVersionCreateBody, call: MakeCall, clock: ClockDep
) -> Response:
    """It reads what happens from `effective_from` on; what happened before stays as it was read."""
    command = DefineMeterVersion(meter_id, body.to_definition(), body.effective_from)

    async def work(uow: MeteringUnitOfWork) -> MeterBody:
        meter = await define_meter_version(command, uow=uow, clock=clock, check_version=call.require_version)
        return await _shown(meter, uow)

    return await call.once(work, location=lambda made: f"/v1/meters/{made.id}")


@router.get("/{meter_id}/versions", response_model=Page[MeterBody], summary="List a meter's versions")
async def list_meter_versions(meter_id: MeterId, call: ReadCall) -> Response:
    """All of them, the oldest first."""

    async def work(uow: MeteringUnitOfWork) -> Slice[MeterBody]:
        found = await queries.list_meter_versions(meter_id, uow=uow)
        return Slice(items=tuple(MeterBody.from_view(view) for view in found))

    return await call.page(work)


async def _shown(meter: Meter, uow: MeteringUnitOfWork) -> MeterBody:
    return MeterBody.from_view(await queries.get_meter(meter.id, uow=uow))

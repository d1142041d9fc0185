"""Routes of meters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application import queries
from services.metering.application.define_meter import define_meter
from services.metering.entrypoints.bodies import MeterBody, MeterCreateBody, MeterId
from services.metering.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, SettingsDep
from services.metering.entrypoints.usage_event_bodies import EventType

router = APIRouter(prefix="/v1/meters", tags=["meters"])


@router.post("", status_code=201, response_model=MeterBody, summary="Define a meter")
async def post_meter(
    body: MeterCreateBody, call: MakeCall, clock: ClockDep, settings: SettingsDep
) -> Response:
    """Events of its type that are stored already count as well, as far as the meter can read them."""
    command = body.to_command(bucket_s=settings.bucket_s)

    async def work(uow: MeteringUnitOfWork) -> MeterBody:
        return MeterBody.from_domain(await define_meter(command, uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/meters/{made.id}")


@router.get("", response_model=Page[MeterBody], summary="List meters")
async def list_meters(
    call: ReadCall,
    page: PageDep,
    code: Annotated[Code | None, Query()] = None,
    event_type: Annotated[EventType | None, Query()] = None,
) -> Response:
    async def work(uow: MeteringUnitOfWork) -> Slice[MeterBody]:
        found = await uow.reads.list_meters(page, code=code, event_type=event_type)
        return found.map(MeterBody.from_domain)

    return await call.page(work)


@router.get("/{meter_id}", response_model=MeterBody, summary="Show a meter")
async def get_meter(meter_id: MeterId, call: ReadCall) -> Response:
    async def work(uow: MeteringUnitOfWork) -> MeterBody:
        return MeterBody.from_domain(await queries.get_meter(meter_id, uow=uow))

    return await call.read(work)

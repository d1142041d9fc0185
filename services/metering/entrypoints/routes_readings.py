"""Routes of counters' readings: what they showed, what a person has to look at, and what was used."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code, Instant
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.correct_meter_reading import (
    MeterReadingNotFound,
    correct_meter_reading,
    get_reading_for_update,
)
from services.metering.application.reading_ports import ExceptionFilter, MeterPoint, ReadingFilter
from services.metering.application.resolve_reading_exception import (
    ReadingExceptionNotFound,
    find_exception_for_update,
    resolve_reading_exception,
)
from services.metering.application.take_meter_readings import TakeMeterReadings, take_meter_readings
from services.metering.domain.reading import State
from services.metering.domain.reading_exception import ExceptionKind, ExceptionState
from services.metering.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, ingest_of
from services.metering.entrypoints.reading_bodies import (
    READINGS_MAX,
    Device,
    MeterReadingBody,
    MeterReadingCorrectionBody,
    MeterReadingCreateBody,
    ReadingConsumptionBody,
    ReadingExceptionBody,
    ReadingExceptionId,
    ReadingId,
    ReadingResolutionBody,
    ReadingResultsBody,
    read_reading,
)
from services.metering.entrypoints.usage_event_bodies import Subject

router = LateRouter(tags=["readings"])

_ONE: dict[str, Any] = MeterReadingCreateBody.model_json_schema()
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "oneOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1, "maxItems": READINGS_MAX}]
            }
        }
    },
}


@router.post(
    "/v1/meter-readings",
    response_model=ReadingResultsBody,
    summary="Send readings of counters",
    openapi_extra={"requestBody": _BODY},
)
async def post_meter_readings(
    call: MakeCall,
    clock: ClockDep,
    body: Annotated[
        dict[str, Any] | Annotated[list[dict[str, Any]], Body(min_length=1, max_length=READINGS_MAX)], Body()
    ],
) -> Response:
    """One, or a list of up to 1,000. Each has its own result, in order; the good ones are kept whatever the others are.

    Whatever happened, the same request may be sent again: a reading counts once. One that the counter cannot have shown
    is `held`, and bills nothing until a person has decided what it means.
    """
    now, accept = clock.system_now(), ingest_of(call.request).accept
    author = call.caller.actor
    given = body if isinstance(body, list) else [body]
    command = TakeMeterReadings(
        author, [read_reading(one, tenant=call.tenant, author=author, now=now) for one in given]
    )

    async def work(uow: MeteringUnitOfWork) -> ReadingResultsBody:
        results = await take_meter_readings(command, uow=uow, accept=accept, now=now)
        return ReadingResultsBody.from_results(results)

    return await call.once(work, status=200)


@router.get("/v1/meter-readings", response_model=Page[MeterReadingBody], summary="List readings")
async def list_meter_readings(
    call: ReadCall,
    page: PageDep,
    meter: Annotated[Code | None, Query()] = None,
    subject: Annotated[Subject | None, Query()] = None,
    device: Annotated[Device | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
    from_: Annotated[Instant | None, Query(alias="from", description="Read then or later.")] = None,
    to: Annotated[Instant | None, Query(description="Read before then.")] = None,
) -> Response:
    """In the order in which they arrived; `from` and `to` are about when the counters were read."""
    wanted = ReadingFilter(meter, subject, state, device, from_, to)

    async def work(uow: MeteringUnitOfWork) -> Slice[MeterReadingBody]:
        return (await uow.readings.list_readings(wanted, page)).map(MeterReadingBody.from_domain)

    return await call.page(work)


@router.get("/v1/meter-readings/{reading_id}", response_model=MeterReadingBody, summary="Show a reading")
async def get_meter_reading(reading_id: ReadingId, call: ReadCall) -> Response:
    async def work(uow: MeteringUnitOfWork) -> MeterReadingBody:
        found = (await uow.readings.find({reading_id})).get(reading_id)
        if found is None:
            raise MeterReadingNotFound("no reading has this id", meter_reading_id=reading_id)
        return MeterReadingBody.from_domain(found)

    return await call.read(work)


@router.post(
    "/v1/meter-readings/{reading_id}/corrections",
    status_code=201,
    response_model=MeterReadingBody,
    summary="Correct a reading",
)
async def post_meter_reading_correction(
    reading_id: ReadingId, body: MeterReadingCorrectionBody, call: MakeCall, clock: ClockDep
) -> Response:
    """Another reading takes its place, and what was used is made again from it: what was billed is put right."""
    command = body.to_command(reading_id, author=call.caller.actor)

    async def work(uow: MeteringUnitOfWork) -> MeterReadingBody:
        call.require_version((await get_reading_for_update(reading_id, uow=uow)).version)
        return MeterReadingBody.from_domain(await correct_meter_reading(command, uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/meter-readings/{made.id}")


@router.get(
    "/v1/reading-exceptions",
    response_model=Page[ReadingExceptionBody],
    summary="List readings to be looked at",
)
async def list_reading_exceptions(
    call: ReadCall,
    page: PageDep,
    meter: Annotated[Code | None, Query()] = None,
    subject: Annotated[Subject | None, Query()] = None,
    kind: Annotated[ExceptionKind | None, Query()] = None,
    state: Annotated[ExceptionState | None, Query()] = None,
) -> Response:
    """Readings that are kept aside, and those that are needed."""
    wanted = ExceptionFilter(meter, subject, kind, state)

    async def work(uow: MeteringUnitOfWork) -> Slice[ReadingExceptionBody]:
        return (await uow.readings.list_exceptions(wanted, page)).map(ReadingExceptionBody.from_domain)

    return await call.page(work)


@router.get(
    "/v1/reading-exceptions/{exception_id}",
    response_model=ReadingExceptionBody,
    summary="Show a reading to be looked at",
)
async def get_reading_exception(exception_id: ReadingExceptionId, call: ReadCall) -> Response:
    async def work(uow: MeteringUnitOfWork) -> ReadingExceptionBody:
        found = await uow.readings.find_exception(exception_id)
        if found is None:
            raise ReadingExceptionNotFound("no exception has this id", reading_exception_id=exception_id)
        return ReadingExceptionBody.from_domain(found)

    return await call.read(work)


@router.post(
    "/v1/reading-exceptions/{exception_id}/resolution",
    response_model=ReadingExceptionBody,
    summary="Decide what a reading means",
)
async def post_reading_resolution(
    exception_id: ReadingExceptionId, body: ReadingResolutionBody, call: MakeCall, clock: ClockDep
) -> Response:
    """The reading is taken as it was explained, or discarded; what was used follows from it."""
    command = body.to_command(exception_id, author=call.caller.actor)

    async def work(uow: MeteringUnitOfWork) -> ReadingExceptionBody:
        call.require_version((await find_exception_for_update(exception_id, uow=uow)).version)
        found = await resolve_reading_exception(command, uow=uow, clock=clock)
        return ReadingExceptionBody.from_domain(found)

    return await call.once(work, status=200)


@router.get(
    "/v1/reading-consumptions",
    response_model=Page[ReadingConsumptionBody],
    summary="List what was used between readings",
)
async def list_reading_consumptions(
    call: ReadCall,
    page: PageDep,
    meter: Annotated[Code, Query()],
    subject: Annotated[Subject, Query()],
    from_: Annotated[Instant | None, Query(alias="from", description="Counts then or later.")] = None,
    to: Annotated[Instant | None, Query(description="Counts before then.")] = None,
) -> Response:
    """Of one subject on one meter, as it counts now, in the order of time. It counts just before its later reading."""

    async def work(uow: MeteringUnitOfWork) -> Slice[ReadingConsumptionBody]:
        found = await uow.readings.list_consumptions(MeterPoint(meter, subject), from_, to, page)
        return found.map(ReadingConsumptionBody.from_made)

    return await call.page(work)

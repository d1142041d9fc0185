"""Routes by which usage is put right after it was stored, and what can be seen of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from libs.common.ids import new_uuid7
from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.amend_usage_events import AmendUsageEvents, amend_usage_events
from services.metering.application.ingest_usage_events import UsageBatch, months_needed
from services.metering.application.reads import CorrectionFilter
from services.metering.application.void_and_store import CorrectionResult, Void, void_and_store
from services.metering.domain.usage_correction import REASON_LENGTH_MAX, CorrectionKind
from services.metering.entrypoints.cloud_events import Reader
from services.metering.entrypoints.correction_entries import (
    ENTRIES_MAX,
    read_amendments,
    read_voids,
)
from services.metering.entrypoints.dependencies import MakeCall, ReadCall, ingest_of
from services.metering.entrypoints.routes_usage_events import EVENT_EXAMPLE, EVENT_SCHEMA, PATH
from services.metering.entrypoints.usage_correction_bodies import (
    CorrectionResultBody,
    CorrectionResultsBody,
    UsageCorrectionBody,
)
from services.metering.entrypoints.usage_event_bodies import EventId, Source
from services.metering.entrypoints.usage_request import read_text

router = LateRouter(tags=["usage"])

_REASON: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": REASON_LENGTH_MAX}
_WHY = "The flight was diverted."


def _body(name: str, entry: Mapping[str, Any], example: Mapping[str, Any]) -> dict[str, Any]:
    entries = {
        "type": "array",
        "minItems": 1,
        "maxItems": ENTRIES_MAX,
        "items": {
            "type": "object",
            "required": list(entry),
            "properties": entry,
            "additionalProperties": False,
        },
    }
    schema = {
        "type": "object",
        "required": [name],
        "properties": {name: entries},
        "additionalProperties": False,
    }
    content = {"application/json": {"schema": schema, "example": {name: [{**example, "reason": _WHY}]}}}
    return {"requestBody": {"required": True, "content": content}}


_VOIDS = _body(
    "voids",
    {"source": {"type": "string"}, "id": {"type": "string"}, "reason": _REASON},
    {"source": EVENT_EXAMPLE["source"], "id": EVENT_EXAMPLE["id"]},
)
_AMENDMENTS = _body(
    "amendments",
    {"event": EVENT_SCHEMA, "reason": _REASON},
    {
        "event": {
            **EVENT_EXAMPLE,
            "data": {"carrier": "UA", "destination": "AUS", "air_time": 241, "distance": 1504},
        }
    },
)


@router.post(
    f"{PATH}/voids",
    response_model=CorrectionResultsBody,
    summary="Void usage events",
    openapi_extra=_VOIDS,
)
async def post_voids(call: MakeCall) -> Response:
    """Up to 1,000 events, by source and id, that are to count no more. Each entry has its own result, in order.

    The events stay listed, with the reason and the author, and their ids stay taken: what is sent again under one of
    them is a duplicate, and still void. A window that has closed says a correction.
    """
    ingest = ingest_of(call.request)
    now = ingest.clock.system_now()
    author = call.caller.actor
    with ingest.hold() as hold:
        entries = read_voids(await read_text(call.request, ingest.limits, hold), author=author)
        voids = [entry for entry in entries if isinstance(entry, Void)]

        async def work(uow: MeteringUnitOfWork) -> CorrectionResultsBody:
            done = iter((await void_and_store(voids, (), uow=uow, now=now)).voids)
            return CorrectionResultsBody.of(
                [
                    CorrectionResultBody.from_result(
                        entry.source,
                        entry.event_id,
                        next(done)
                        if isinstance(entry, Void)
                        else CorrectionResult("rejected", reasons=entry.reasons),
                    )
                    for entry in entries
                ]
            )

        return await call.once(work, status=200)


@router.post(
    f"{PATH}/amendments",
    response_model=CorrectionResultsBody,
    summary="Amend usage events",
    openapi_extra=_AMENDMENTS,
)
async def post_amendments(call: MakeCall) -> Response:
    """Up to 1,000 events as they are to be: each counts in the place of the stored one of its source and id.

    It may differ in whatever it says: type, subject, time (without one, it stays), data. It is looked at as when it is
    sent for the first time. What was voided counts again. A window that has closed says a correction.
    """
    ingest = ingest_of(call.request)
    now = ingest.clock.system_now()
    reader = Reader(call.tenant, now, specversion_needed=False)
    with ingest.hold() as hold:
        entries = read_amendments(await read_text(call.request, ingest.limits, hold), reader)
        command = AmendUsageEvents(str(new_uuid7()), call.caller.actor, entries)
        batch = UsageBatch(command.batch_id, command.author, now, [entry.event for entry in entries])
        await ingest.months.ensure(months_needed([batch], ingest.accept))

        async def work(uow: MeteringUnitOfWork) -> CorrectionResultsBody:
            results = await amend_usage_events(command, uow=uow, accept=ingest.accept, now=now)
            return CorrectionResultsBody.of(
                [
                    CorrectionResultBody.from_result(entry.event.source, entry.event.event_id, result)
                    for entry, result in zip(entries, results, strict=True)
                ]
            )

        return await call.once(work, status=200)


@router.get(
    "/v1/usage-corrections", response_model=Page[UsageCorrectionBody], summary="List voids and amendments"
)
async def list_usage_corrections(
    call: ReadCall,
    page: PageDep,
    source: Annotated[Source | None, Query()] = None,
    event_id: Annotated[EventId | None, Query()] = None,
    kind: Annotated[CorrectionKind | None, Query()] = None,
) -> Response:
    """In the order in which they were made; with `source` and `event_id`, the life of one event."""
    wanted = CorrectionFilter(source, event_id, kind)

    async def work(uow: MeteringUnitOfWork) -> Slice[UsageCorrectionBody]:
        return (await uow.reads.list_corrections(wanted, page)).map(UsageCorrectionBody.from_domain)

    return await call.page(work)

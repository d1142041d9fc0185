"""Routes of rejects: what was refused and why, and what is done about it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from fastapi import Path, Query
from starlette.responses import Response

from libs.common.errors import RuleViolation
from libs.common.ids import new_uuid7
from libs.common.paging import Slice
from libs.common.web.bodies import identifier
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.ingest_usage_events import UsageBatch, months_needed
from services.metering.application.note_touched import note_touched
from services.metering.application.reads import RejectState, RejectView
from services.metering.application.resolve_usage_rejects import (
    ResubmitUsageReject,
    dismiss_usage_reject,
    get_reject,
    resubmit_usage_reject,
)
from services.metering.domain.usage_event import PAYLOAD_LENGTH_MAX, MalformedEvent, UsageEvent
from services.metering.entrypoints.cloud_events import Reader
from services.metering.entrypoints.correction_entries import read_resubmission
from services.metering.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, ingest_of
from services.metering.entrypoints.routes_usage_events import EVENT_EXAMPLE, EVENT_SCHEMA
from services.metering.entrypoints.usage_event_bodies import (
    DismissalBody,
    ResubmissionBody,
    Source,
    UsageRejectBody,
)

router = LateRouter(prefix="/v1/usage-rejects", tags=["usage"])

RejectId = Annotated[str, identifier("urej"), Path(examples=["urej_01jz3v6m1qk0c8n4r2d5s7t9wx"])]

_RESUBMISSION: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"event": EVENT_SCHEMA},
                    "additionalProperties": False,
                },
                "example": {"event": EVENT_EXAMPLE},
            }
        },
    }
}


class RejectPayloadCut(RuleViolation):
    """Of a very long event only the beginning is kept."""

    code: ClassVar[str] = "usage_reject_payload_cut"
    title: ClassVar[str] = "The event is not kept as a whole"


@router.get("", response_model=Page[UsageRejectBody], summary="List rejected events")
async def list_usage_rejects(
    call: ReadCall,
    page: PageDep,
    source: Annotated[Source | None, Query()] = None,
    state: Annotated[RejectState | None, Query()] = None,
) -> Response:
    """Events that were refused, with all that was wrong with them, and what was done about it."""

    async def work(uow: MeteringUnitOfWork) -> Slice[UsageRejectBody]:
        return (await uow.reads.list_rejects(page, source=source, state=state)).map(UsageRejectBody.from_view)

    return await call.page(work)


@router.post(
    "/{reject_id}/resubmission",
    response_model=ResubmissionBody,
    summary="Send a rejected event again",
    openapi_extra=_RESUBMISSION,
)
async def post_resubmission(reject_id: RejectId, call: MakeCall) -> Response:
    """The event put right; without a body as it was, for when a meter or the accept window has changed since.

    Once it is stored, or turns out to be, the reject is resolved. An event without a time happened when it first came.
    """
    ingest = ingest_of(call.request)
    now = ingest.clock.system_now()
    body = await call.request.body()

    async def look(uow: MeteringUnitOfWork) -> RejectView:
        # Whether it is open is asked below: a request that comes again is answered as it was, by its key.
        return await get_reject(reject_id, uow=uow)

    reject = await call.run(look)
    reader = Reader(call.tenant, reject.first_seen_at, specversion_needed=False)
    is_given = body.strip() not in (b"", b"null")
    event = read_resubmission(body, reader) if is_given else _as_it_was(reject, reader)
    command = ResubmitUsageReject(reject_id, event, str(new_uuid7()), call.caller.actor)
    batch = UsageBatch(command.batch_id, command.author, now, [event])
    await ingest.months.ensure(months_needed([batch], ingest.accept))

    async def work(uow: MeteringUnitOfWork) -> ResubmissionBody:
        result, found = await resubmit_usage_reject(command, uow=uow, accept=ingest.accept, now=now)
        for _, touched in uow.balances.touched:
            await note_touched(touched, uow=uow)
        return ResubmissionBody.from_result(event, result, found)

    return await call.once(work, status=200)


def _as_it_was(reject: RejectView, reader: Reader) -> UsageEvent | MalformedEvent:
    """Raises: RejectPayloadCut."""
    payload = reject.reject.payload
    if len(payload) >= PAYLOAD_LENGTH_MAX:
        raise RejectPayloadCut(
            f"only the first {PAYLOAD_LENGTH_MAX} characters of the event were kept",
            remedy="Send the whole event in the body.",
        )
    return reader.read(payload.encode())


@router.post("/{reject_id}/dismissal", response_model=UsageRejectBody, summary="Dismiss a rejected event")
async def post_dismissal(
    reject_id: RejectId, body: DismissalBody, call: MakeCall, clock: ClockDep
) -> Response:
    """Nobody will put it right, for the reason given. It stays listed, and its id free."""
    now = clock.system_now()

    async def work(uow: MeteringUnitOfWork) -> UsageRejectBody:
        author = call.caller.actor
        found = await dismiss_usage_reject(reject_id, reason=body.reason, author=author, uow=uow, now=now)
        return UsageRejectBody.from_view(found)

    return await call.once(work, status=200)

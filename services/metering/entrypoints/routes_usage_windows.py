"""Routes of usage windows, and of the very events behind their totals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application import prove_usage, queries
from services.metering.application.dismiss_recount_refusal import (
    DismissRecountRefusal,
    dismiss_recount_refusal,
)
from services.metering.application.reads import WindowCorrectionFilter, WindowFilter
from services.metering.domain.usage_event import ID_BYTES_MAX, SOURCE_BYTES_MAX
from services.metering.domain.usage_window import State
from services.metering.entrypoints.bodies import (
    AnyId,
    RefusalDismissalBody,
    UsageWindowBody,
    WindowCorrectionBody,
    WindowId,
)
from services.metering.entrypoints.dependencies import ClockDep, MakeCall, PortalReadCall
from services.metering.entrypoints.exact_json import exact_page
from services.metering.entrypoints.proof_bodies import InclusionProofBody, WindowDigestsBody
from services.metering.entrypoints.usage_answer_bodies import WindowEventBody, window_event_json

router = LateRouter(prefix="/v1/usage-windows", tags=["usage windows"])
corrections_router = LateRouter(prefix="/v1/usage-window-corrections", tags=["usage windows"])


@router.get("", response_model=Page[UsageWindowBody], summary="List usage windows")
async def list_usage_windows(
    call: PortalReadCall,
    page: PageDep,
    subscription_id: Annotated[AnyId | None, Query()] = None,
    customer_id: Annotated[AnyId | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
) -> Response:
    """One for each billing period of each subscription that has usage prices."""
    wanted = WindowFilter(subscription_id, customer_id, state)

    async def work(uow: MeteringUnitOfWork) -> Slice[UsageWindowBody]:
        found = await queries.list_usage_windows(wanted, page, of=call.customer, uow=uow)
        return found.map(UsageWindowBody.from_domain)

    return await call.page(work)


@router.get("/{window_id}", response_model=UsageWindowBody, summary="Show a usage window")
async def get_usage_window(window_id: WindowId, call: PortalReadCall) -> Response:
    async def work(uow: MeteringUnitOfWork) -> UsageWindowBody:
        window = await queries.get_usage_window(window_id, of=call.customer, uow=uow)
        return UsageWindowBody.from_domain(window)

    return await call.read(work)


@router.get(
    "/{window_id}/corrections",
    response_model=Page[WindowCorrectionBody],
    summary="List the corrections of a window",
)
async def list_usage_window_corrections(window_id: WindowId, call: PortalReadCall, page: PageDep) -> Response:
    """In the order in which they were said: the `before` of each is what the one before it came to."""
    return await _corrections(call, page, WindowCorrectionFilter(window_id=window_id))


@corrections_router.get("", response_model=Page[WindowCorrectionBody], summary="List corrections of windows")
async def list_window_corrections(
    call: PortalReadCall,
    page: PageDep,
    subscription_id: Annotated[AnyId | None, Query()] = None,
    customer_id: Annotated[AnyId | None, Query()] = None,
    is_billable: Annotated[bool | None, Query()] = None,
) -> Response:
    """Of all windows, in the order in which they were said. With `is_billable=false`: what came too late to be billed."""
    wanted = WindowCorrectionFilter(
        subscription_id=subscription_id, customer_id=customer_id, is_billable=is_billable
    )
    return await _corrections(call, page, wanted)


@router.post(
    "/{window_id}/recount-refusal/dismissal",
    response_model=UsageWindowBody,
    summary="Dismiss what could not be counted again",
)
async def post_refusal_dismissal(
    window_id: WindowId, body: RefusalDismissalBody, call: MakeCall, clock: ClockDep
) -> Response:
    """A person has seen to a window whose events are no longer kept. It stays told, and alerts no longer."""
    command = DismissRecountRefusal(window_id, body.reason, call.caller.actor)

    async def work(uow: MeteringUnitOfWork) -> UsageWindowBody:
        return UsageWindowBody.from_domain(await dismiss_recount_refusal(command, uow=uow, clock=clock))

    return await call.once(work, status=200)


async def _corrections(call: PortalReadCall, page: PageDep, wanted: WindowCorrectionFilter) -> Response:
    async def work(uow: MeteringUnitOfWork) -> Slice[WindowCorrectionBody]:
        found = await queries.list_window_corrections(wanted, page, of=call.customer, uow=uow)
        return found.map(WindowCorrectionBody.from_domain)

    return await call.page(work)


@router.get(
    "/{window_id}/events", response_model=Page[WindowEventBody], summary="List the events behind a total"
)
async def list_usage_window_events(
    window_id: WindowId,
    call: PortalReadCall,
    page: PageDep,
    item_id: Annotated[AnyId | None, Query(description="Needed where the window has several items.")] = None,
    price_id: Annotated[
        AnyId | None, Query(description="Of an item whose price has changed, one of them.")
    ] = None,
) -> Response:
    """As they stand now, in the order in which they happened: their sum is the total, corrections included."""

    async def work(uow: MeteringUnitOfWork) -> Slice[Mapping[str, Any]]:
        found = await queries.list_window_events(
            window_id, item_id, price_id, page, of=call.customer, uow=uow
        )
        return found.map(window_event_json)

    return exact_page(call.request, await call.run(work, snapshot=True))


@router.get("/{window_id}/digests", response_model=WindowDigestsBody, summary="Show what seals a window")
async def get_window_digests(
    window_id: WindowId,
    call: PortalReadCall,
    revision: Annotated[int | None, Query(ge=0, description="By default the newest that is sealed.")] = None,
) -> Response:
    """For each total, what stands for all events behind it: whoever has the events makes the same again."""

    async def work(uow: MeteringUnitOfWork) -> WindowDigestsBody:
        return WindowDigestsBody.from_view(
            await prove_usage.find_sealed(window_id, revision, of=call.customer, uow=uow)
        )

    return await call.read(work)


@router.get(
    "/{window_id}/inclusion-proofs",
    response_model=InclusionProofBody,
    summary="Show that an event is behind a total",
)
async def get_inclusion_proof(
    window_id: WindowId,
    call: PortalReadCall,
    source: Annotated[str, Query(min_length=1, max_length=SOURCE_BYTES_MAX)],
    event_id: Annotated[str, Query(min_length=1, max_length=ID_BYTES_MAX)],
    item_id: Annotated[AnyId | None, Query(description="Needed where the window has several items.")] = None,
    price_id: Annotated[AnyId | None, Query()] = None,
) -> Response:
    """Its leaf, its place, and the way from it to the root: nobody needs the other events to check it."""

    async def work(uow: MeteringUnitOfWork) -> InclusionProofBody:
        return InclusionProofBody.from_view(
            await prove_usage.prove_inclusion(
                window_id,
                source=source,
                event_id=event_id,
                item_id=item_id,
                price_id=price_id,
                of=call.customer,
                uow=uow,
            )
        )

    return await call.read(work)

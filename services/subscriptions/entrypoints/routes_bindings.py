"""Routes of subject bindings."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import queries
from services.subscriptions.application.bind_subjects import bind_subjects
from services.subscriptions.application.ports import BindingFilter
from services.subscriptions.application.release_subject import ReleaseSubject, release_subject
from services.subscriptions.entrypoints.binding_bodies import (
    AssetId,
    BindingBody,
    BindingId,
    BindingResultBody,
    BindingResultsBody,
    BindingsCreateBody,
    ReleaseBody,
    Subject,
)
from services.subscriptions.entrypoints.bodies import ItemId, SubscriptionId
from services.subscriptions.entrypoints.dependencies import ClockDep, MakeCall, PortalReadCall, WriteCall

router = LateRouter(prefix="/v1/subject-bindings", tags=["subject bindings"])


@router.post("", response_model=BindingResultsBody, summary="Bind subjects to subscription items")
async def post_subject_bindings(body: BindingsCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """Up to 1,000 at once. Each has its own result, in order; what cannot be kept does not hold up the others.

    Binding again from the same instant changes nothing, so that the request may be repeated.
    """
    commands = [binding.to_command() for binding in body.bindings]

    async def work(uow: SubscriptionsUnitOfWork) -> BindingResultsBody:
        results = await bind_subjects(commands, uow=uow, clock=clock)
        return BindingResultsBody(
            results=[BindingResultBody.from_result(result, at) for at, result in enumerate(results)]
        )

    return await call.once(work, status=200)


@router.get("", response_model=Page[BindingBody], summary="List subject bindings")
async def list_subject_bindings(
    call: PortalReadCall,
    page: PageDep,
    subject: Annotated[Subject | None, Query()] = None,
    item_id: Annotated[ItemId | None, Query()] = None,
    subscription_id: Annotated[SubscriptionId | None, Query()] = None,
    meter: Annotated[Code | None, Query()] = None,
    asset_id: Annotated[AssetId | None, Query()] = None,
) -> Response:
    """Oldest first, those that are over included."""
    wanted = BindingFilter(
        subject=subject, item_id=item_id, subscription_id=subscription_id, meter=meter, asset_id=asset_id
    )

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[BindingBody]:
        found = await queries.list_bindings(wanted, page, portal_customer=call.customer, uow=uow)
        return found.map(BindingBody.from_domain)

    return await call.page(work)


@router.get("/{binding_id}", response_model=BindingBody, summary="Show a subject binding")
async def get_subject_binding(binding_id: BindingId, call: PortalReadCall) -> Response:
    async def work(uow: SubscriptionsUnitOfWork) -> BindingBody:
        found = await queries.get_binding(binding_id, portal_customer=call.customer, uow=uow)
        return BindingBody.from_domain(found)

    return await call.read(work)


@router.post("/{binding_id}/release", response_model=BindingBody, summary="Release a subject")
async def post_release(
    binding_id: BindingId, body: ReleaseBody, call: WriteCall, clock: ClockDep
) -> Response:
    """Its usage from then on no longer counts for the item. A release only ever shortens a binding."""
    command = ReleaseSubject(binding_id=binding_id, at=body.at)

    async def work(uow: SubscriptionsUnitOfWork) -> BindingBody:
        released = await release_subject(command, uow=uow, clock=clock, check_version=call.require_version)
        return BindingBody.from_domain(released)

    return await call.change(work)

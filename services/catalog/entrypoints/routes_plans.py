"""Routes of plans: drafts, publications, versions, retirement."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code, ExternalId
from libs.common.web.calls import Tagged
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.create_plan import CreatePlan, create_plan
from services.catalog.application.ports import PlanFilter
from services.catalog.application.publish_plan import PublishPlan, publish_plan
from services.catalog.application.replace_plan_draft import ReplacePlanDraft, replace_plan_draft
from services.catalog.application.retire_plan import RetirePlan, retire_plan
from services.catalog.domain.plan import PlanStatus
from services.catalog.domain.plan_draft import MeterUnknown
from services.catalog.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, WriteCall
from services.catalog.entrypoints.plan_bodies import (
    PlanBody,
    PlanCreateBody,
    PlanDraftWriteBody,
    PlanId,
    PlanVersionBody,
    PublicationBody,
)

router = APIRouter(prefix="/v1/plans", tags=["plans"])

# A meter that was defined a moment ago may not have been heard of yet: it is waited for, a little.
LATE_NEWS = (MeterUnknown,)
NEVER_CHANGES = 1  # the one version that a published plan version has


@router.post("", status_code=201, response_model=PlanBody, summary="Make a plan")
async def post_plan(body: PlanCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """A draft, checked whole: every fault is listed. It can be sold once it is published."""
    command = CreatePlan(
        code=body.code, external_id=body.external_id, metadata=body.metadata, written=body.to_written()
    )

    async def work(uow: CatalogUnitOfWork) -> PlanBody:
        return PlanBody.from_domain(await create_plan(command, uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/plans/{made.id}", awaiting=LATE_NEWS)


@router.get("", response_model=Page[PlanBody], summary="List plans")
async def list_plans(
    call: ReadCall,
    page: PageDep,
    code: Annotated[Code | None, Query()] = None,
    status: Annotated[PlanStatus | None, Query()] = None,
    external_id: Annotated[ExternalId | None, Query()] = None,
) -> Response:
    """Oldest first."""
    wanted = PlanFilter(code=code, status=status, external_id=external_id)

    async def work(uow: CatalogUnitOfWork) -> Slice[PlanBody]:
        return (await queries.list_plans(wanted, page, uow=uow)).map(PlanBody.from_domain)

    return await call.page(work)


@router.get("/{plan_id}", response_model=PlanBody, summary="Show a plan")
async def get_plan(plan_id: PlanId, call: ReadCall) -> Response:
    async def work(uow: CatalogUnitOfWork) -> PlanBody:
        return PlanBody.from_domain(await queries.get_plan(plan_id, uow=uow))

    return await call.read(work)


@router.put("/{plan_id}/draft", response_model=PlanBody, summary="Replace a plan's draft")
async def put_plan_draft(plan_id: PlanId, body: PlanDraftWriteBody, call: WriteCall) -> Response:
    """Name and prices anew; what was published stays as it is. Send the plan's ETag in If-Match."""
    command = ReplacePlanDraft(
        plan_id=plan_id,
        name=body.name,
        prices=tuple(price.to_command() for price in body.prices),
        currency=body.currency,
        interval=body.interval.to_domain() if body.interval else None,
    )

    async def work(uow: CatalogUnitOfWork) -> PlanBody:
        changed = await replace_plan_draft(command, uow=uow, check_version=call.require_version)
        return PlanBody.from_domain(changed)

    return await call.change(work, awaiting=LATE_NEWS)


@router.post("/{plan_id}/publications", response_model=PublicationBody, summary="Publish a plan's draft")
async def post_plan_publication(plan_id: PlanId, call: MakeCall, clock: ClockDep) -> Response:
    """The draft becomes the plan's next version, which never changes. Unchanged drafts are not published again.

    The answer says which: `published` or `unchanged`. Its ETag is the plan's.
    """
    command = PublishPlan(plan_id=plan_id)

    async def work(uow: CatalogUnitOfWork) -> Tagged[PublicationBody]:
        outcome = await publish_plan(command, uow=uow, clock=clock, check_version=call.require_version)
        return Tagged(PublicationBody.from_domain(outcome), outcome.plan.version)

    return await call.once(work, status=200)


@router.get("/{plan_id}/versions", response_model=Page[PlanVersionBody], summary="List a plan's versions")
async def list_plan_versions(plan_id: PlanId, call: ReadCall, page: PageDep) -> Response:
    """In the order in which they were published; `created_from` and `created_to` bound that instant."""

    async def work(uow: CatalogUnitOfWork) -> Slice[PlanVersionBody]:
        found = await queries.list_plan_versions(plan_id, page, uow=uow)
        return found.map(PlanVersionBody.from_domain)

    return await call.page(work)


@router.get("/{plan_id}/versions/{number}", response_model=PlanVersionBody, summary="Show a plan version")
async def get_plan_version(
    plan_id: PlanId, number: Annotated[int, Path(ge=1, le=2**31 - 1)], call: ReadCall
) -> Response:
    """As it was published. It never changes, so a reader may keep it for ever."""

    async def work(uow: CatalogUnitOfWork) -> Tagged[PlanVersionBody]:
        found = await queries.get_plan_version(plan_id, number, uow=uow)
        return Tagged(PlanVersionBody.from_domain(found), NEVER_CHANGES)

    return await call.read(work)


@router.post("/{plan_id}/retirement", response_model=PlanBody, summary="Retire a plan")
async def post_plan_retirement(plan_id: PlanId, call: WriteCall, clock: ClockDep) -> Response:
    """It is no longer sold; subscriptions on it go on. Retiring it again changes nothing."""
    command = RetirePlan(plan_id=plan_id)

    async def work(uow: CatalogUnitOfWork) -> PlanBody:
        retired = await retire_plan(command, uow=uow, clock=clock, check_version=call.require_version)
        return PlanBody.from_domain(retired)

    return await call.change(work)

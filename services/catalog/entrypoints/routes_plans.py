"""Routes of plans: drafts, publications, retirement."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import StringConstraints
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code, ExternalId
from libs.common.web.calls import Tagged
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.change_plan import ChangePlan, change_plan
from services.catalog.application.create_plan import CreatePlan, create_plan
from services.catalog.application.diff_plan import Side, diff_plan
from services.catalog.application.offered_version import offered
from services.catalog.application.ports import PlanFilter
from services.catalog.application.publish_plan import PublishPlan, publish_plan
from services.catalog.application.retire_plan import RetirePlan, retire_plan
from services.catalog.domain.plan import PlanStatus
from services.catalog.domain.plan_draft import MeterUnknown
from services.catalog.domain.publication import Published
from services.catalog.domain.sale import ALWAYS
from services.catalog.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, WriteCall
from services.catalog.entrypoints.plan_bodies import (
    PlanBody,
    PlanChangeBody,
    PlanCreateBody,
    PlanDraftWriteBody,
    PlanId,
)
from services.catalog.entrypoints.plan_version_bodies import (
    PlanDiffBody,
    PlanVersionBody,
    PublicationBody,
    PublicationCreateBody,
)

router = LateRouter(prefix="/v1/plans", tags=["plans"])

# A meter that was defined a moment ago may not have been heard of yet: it is waited for, a little.
LATE_NEWS = (MeterUnknown,)

SideText = Annotated[str, StringConstraints(pattern=r"^(?:draft|[1-9][0-9]{0,8})$", max_length=9)]
"""One side of a comparison: the number of a version, or `draft`."""


def side_of(text: str) -> Side:
    return "draft" if text == "draft" else int(text)


@router.post("", status_code=201, response_model=PlanBody, summary="Make a plan")
async def post_plan(body: PlanCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """A draft, checked whole: every fault is listed. It can be sold once it is published."""
    command = CreatePlan(code=body.code, written=body.to_written())

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


@router.patch("/{plan_id}", response_model=PlanBody, summary="Change a plan")
async def patch_plan(plan_id: PlanId, body: PlanChangeBody, call: WriteCall) -> Response:
    """Its names and notes, and parts of its draft; what was published stays as it is.

    A part that is given replaces the whole of it. Send the plan's ETag in If-Match.
    """
    command = ChangePlan(plan_id=plan_id, change=body.change)

    async def work(uow: CatalogUnitOfWork) -> PlanBody:
        return PlanBody.from_domain(await change_plan(command, uow=uow, check_version=call.require_version))

    return await call.change(work, awaiting=LATE_NEWS)


@router.put("/{plan_id}/draft", response_model=PlanBody, summary="Replace a plan's draft")
async def put_plan_draft(plan_id: PlanId, body: PlanDraftWriteBody, call: WriteCall) -> Response:
    """The whole draft anew; what was published stays as it is. Send the plan's ETag in If-Match."""
    command = ChangePlan(plan_id=plan_id, change=body.replaces)

    async def work(uow: CatalogUnitOfWork) -> PlanBody:
        return PlanBody.from_domain(await change_plan(command, uow=uow, check_version=call.require_version))

    return await call.change(work, awaiting=LATE_NEWS)


@router.post("/{plan_id}/publications", response_model=PublicationBody, summary="Publish a plan's draft")
async def post_plan_publication(
    plan_id: PlanId, call: MakeCall, clock: ClockDep, body: PublicationCreateBody | None = None
) -> Response:
    """The draft becomes the plan's next version, which never changes. Unchanged drafts are not published again.

    It can be agreed to from now on, or within the bounds that the body gives. The answer says what was done:
    `published` or `unchanged`. Its ETag is the plan's.
    """
    command = PublishPlan(plan_id=plan_id, validity=body.to_domain() if body else ALWAYS)

    async def work(uow: CatalogUnitOfWork) -> Tagged[PublicationBody]:
        outcome = await publish_plan(command, uow=uow, clock=clock, check_version=call.require_version)
        shown = offered(outcome.plan, outcome.plan_version, clock.system_now())
        told = PublicationBody(
            outcome="published" if isinstance(outcome, Published) else "unchanged",
            plan_version=PlanVersionBody.from_domain(shown),
        )
        return Tagged(told, outcome.plan.version)

    return await call.once(work, status=200)


@router.get("/{plan_id}/diff", response_model=PlanDiffBody, summary="Show what changes between two versions")
async def get_plan_diff(
    plan_id: PlanId,
    call: ReadCall,
    before: Annotated[
        SideText | None,
        Query(alias="from", description="A version, or `draft`; by default the newest version."),
    ] = None,
    after: Annotated[SideText, Query(alias="to", description="A version, or `draft`.")] = "draft",
) -> Response:
    """In words and numbers: what publishing the draft would change, or what another version changed."""

    async def work(uow: CatalogUnitOfWork) -> PlanDiffBody:
        earlier = side_of(before) if before is not None else None
        return PlanDiffBody.from_domain(await diff_plan(plan_id, earlier, side_of(after), uow=uow))

    return await call.read(work)


@router.post("/{plan_id}/retirement", response_model=PlanBody, summary="Retire a plan")
async def post_plan_retirement(plan_id: PlanId, call: WriteCall, clock: ClockDep) -> Response:
    """It is no longer sold; subscriptions on it go on. Retiring it again changes nothing."""
    command = RetirePlan(plan_id=plan_id)

    async def work(uow: CatalogUnitOfWork) -> PlanBody:
        retired = await retire_plan(command, uow=uow, clock=clock, check_version=call.require_version)
        return PlanBody.from_domain(retired)

    return await call.change(work)

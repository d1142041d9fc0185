"""Routes of what was published: it is shown, sold or no longer sold, and never changed."""

from __future__ import annotations

from typing import NoReturn, get_args

from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.calls import Call, Tagged
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.change_plan_sale import ChangePlanSale, change_plan_sale
from services.catalog.application.offered_version import OfferedVersion
from services.catalog.domain.plan_version import PlanVersionImmutable
from services.catalog.domain.sale import OfferStatus
from services.catalog.entrypoints.dependencies import ClockDep, ReadCall, WriteCall
from services.catalog.entrypoints.plan_bodies import PlanId
from services.catalog.entrypoints.plan_version_bodies import PlanVersionBody, VersionNumber

router = LateRouter(prefix="/v1/plans/{plan_id}/versions", tags=["plan versions"])


@router.get("", response_model=Page[PlanVersionBody], summary="List a plan's versions")
async def list_plan_versions(plan_id: PlanId, call: ReadCall, page: PageDep, clock: ClockDep) -> Response:
    """In the order in which they were published; `created_from` and `created_to` bound that instant."""

    async def work(uow: CatalogUnitOfWork) -> Slice[PlanVersionBody]:
        found = await queries.list_plan_versions(plan_id, page, uow=uow, clock=clock)
        return found.map(PlanVersionBody.from_domain)

    return await call.page(work)


@router.get("/{number}", response_model=PlanVersionBody, summary="Show a plan version")
async def get_plan_version(
    plan_id: PlanId, number: VersionNumber, call: ReadCall, clock: ClockDep
) -> Response:
    """As it was published, which never changes, and where it stands now: `status` is the one thing that does."""

    async def work(uow: CatalogUnitOfWork) -> Tagged[PlanVersionBody]:
        return _tagged(await queries.get_plan_version(plan_id, number, uow=uow, clock=clock))

    return await call.read(work)


@router.post(
    "/{number}/withdrawal", response_model=PlanVersionBody, summary="Stop selling a plan version for now"
)
async def post_plan_version_withdrawal(
    plan_id: PlanId, number: VersionNumber, call: WriteCall, clock: ClockDep
) -> Response:
    """It takes no new subscriptions; those on it go on. It can be put on sale again. Again, it changes nothing."""
    return await _change_sale(ChangePlanSale(plan_id, number, "withdrawn"), call, clock)


@router.post(
    "/{number}/reinstatement", response_model=PlanVersionBody, summary="Put a plan version on sale again"
)
async def post_plan_version_reinstatement(
    plan_id: PlanId, number: VersionNumber, call: WriteCall, clock: ClockDep
) -> Response:
    """Within the bounds that it was published with. What was never withdrawn stays as it is."""
    return await _change_sale(ChangePlanSale(plan_id, number, "published"), call, clock)


@router.post("/{number}/archival", response_model=PlanVersionBody, summary="Archive a plan version")
async def post_plan_version_archival(
    plan_id: PlanId, number: VersionNumber, call: WriteCall, clock: ClockDep
) -> Response:
    """It is never sold again; subscriptions on it go on. Archiving it again changes nothing."""
    return await _change_sale(ChangePlanSale(plan_id, number, "archived"), call, clock)


@router.patch("/{number}", status_code=409, response_model=None, summary="Change a plan version: refused")
async def patch_plan_version(
    plan_id: PlanId, number: VersionNumber, call: WriteCall, clock: ClockDep
) -> Response:
    """A published version never changes. The answer says what to do instead."""
    await _refuse(plan_id, number, call, clock)


@router.put("/{number}", status_code=409, response_model=None, summary="Replace a plan version: refused")
async def put_plan_version(
    plan_id: PlanId, number: VersionNumber, call: WriteCall, clock: ClockDep
) -> Response:
    """A published version never changes. The answer says what to do instead."""
    await _refuse(plan_id, number, call, clock)


async def _refuse(plan_id: str, number: int, call: Call[CatalogUnitOfWork], clock: ClockDep) -> NoReturn:
    """One that is not there is not found, as everywhere."""
    await call.run(lambda uow: queries.get_plan_version(plan_id, number, uow=uow, clock=clock))
    raise PlanVersionImmutable(
        "what was published is what customers agreed to: it never changes",
        number=number,
        remedy="Change the plan's draft (PATCH /v1/plans/{plan_id}) and publish it as the next version.",
    )


async def _change_sale(command: ChangePlanSale, call: Call[CatalogUnitOfWork], clock: ClockDep) -> Response:
    async def work(uow: CatalogUnitOfWork) -> Tagged[PlanVersionBody]:
        changed = await change_plan_sale(
            command, uow=uow, clock=clock, check=lambda found: call.require_version(_version_of(found))
        )
        return _tagged(changed)

    return await call.change(work)


def _tagged(offered: OfferedVersion) -> Tagged[PlanVersionBody]:
    return Tagged(PlanVersionBody.from_domain(offered), _version_of(offered))


def _version_of(offered: OfferedVersion) -> int:
    """What its ETag is made of: nothing of it ever changes but where it stands."""
    return 1 + get_args(OfferStatus).index(offered.status)

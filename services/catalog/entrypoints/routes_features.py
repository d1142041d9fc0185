"""Routes of features."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.archive_feature import ArchiveFeature, archive_feature
from services.catalog.application.change_feature import ChangeFeature, change_feature
from services.catalog.application.create_feature import CreateFeature, create_feature
from services.catalog.application.ports import FeatureFilter
from services.catalog.domain.feature import FeatureKind, FeatureMeterUnknown
from services.catalog.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, WriteCall
from services.catalog.entrypoints.feature_bodies import (
    FeatureBody,
    FeatureChangeBody,
    FeatureCreateBody,
    FeatureId,
)

router = LateRouter(prefix="/v1/features", tags=["features"])

# A meter that was defined a moment ago may not have been heard of yet: it is waited for, a little.
LATE_NEWS = (FeatureMeterUnknown,)


@router.post("", status_code=201, response_model=FeatureBody, summary="Make a feature")
async def post_feature(body: FeatureCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """Something that plans let a customer do. How much of it, the plan says that grants it."""
    command = CreateFeature(code=body.code, kind=body.kind, meter=body.meter, details=body.details())

    async def work(uow: CatalogUnitOfWork) -> FeatureBody:
        return FeatureBody.from_domain(await create_feature(command, uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/features/{made.id}", awaiting=LATE_NEWS)


@router.get("", response_model=Page[FeatureBody], summary="List features")
async def list_features(
    call: ReadCall,
    page: PageDep,
    code: Annotated[Code | None, Query()] = None,
    kind: Annotated[FeatureKind | None, Query()] = None,
    archived: Annotated[bool | None, Query(description="Only archived ones, or only others.")] = None,
) -> Response:
    """Oldest first, archived ones included unless told otherwise."""
    wanted = FeatureFilter(code=code, kind=kind, archived=archived)

    async def work(uow: CatalogUnitOfWork) -> Slice[FeatureBody]:
        return (await queries.list_features(wanted, page, uow=uow)).map(FeatureBody.from_domain)

    return await call.page(work)


@router.get("/{feature_id}", response_model=FeatureBody, summary="Show a feature")
async def get_feature(feature_id: FeatureId, call: ReadCall) -> Response:
    async def work(uow: CatalogUnitOfWork) -> FeatureBody:
        return FeatureBody.from_domain(await queries.get_feature(feature_id, uow=uow))

    return await call.read(work)


@router.patch("/{feature_id}", response_model=FeatureBody, summary="Change a feature")
async def patch_feature(
    feature_id: FeatureId, body: FeatureChangeBody, call: WriteCall, clock: ClockDep
) -> Response:
    """Its words only: published plans grant what they granted."""
    command = ChangeFeature(feature_id=feature_id, change=body.apply)

    async def work(uow: CatalogUnitOfWork) -> FeatureBody:
        changed = await change_feature(command, uow=uow, clock=clock, check_version=call.require_version)
        return FeatureBody.from_domain(changed)

    return await call.change(work)


@router.post("/{feature_id}/archival", response_model=FeatureBody, summary="Archive a feature")
async def post_feature_archival(feature_id: FeatureId, call: WriteCall, clock: ClockDep) -> Response:
    """No new draft may grant it; published plans go on granting it. Archiving it again changes nothing."""
    command = ArchiveFeature(feature_id=feature_id)

    async def work(uow: CatalogUnitOfWork) -> FeatureBody:
        archived = await archive_feature(command, uow=uow, clock=clock, check_version=call.require_version)
        return FeatureBody.from_domain(archived)

    return await call.change(work)

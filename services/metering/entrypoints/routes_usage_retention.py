"""Routes of how long a tenant keeps raw events."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field
from starlette.responses import Response

from libs.common.web.bodies import Instant, StrictBody
from libs.common.web.late_routes import LateRouter
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.keep_usage import KeepUsage, keep_usage
from services.metering.domain.usage_retention import DAYS_MAX, UsageRetention
from services.metering.entrypoints.dependencies import ClockDep, ReadCall, WriteCall

router = LateRouter(prefix="/v1/usage-retention", tags=["usage"])


class UsageRetentionChangeBody(StrictBody):
    """For how many days raw events are kept; null: for as long as the operators keep everybody's."""

    raw_kept_days: Annotated[int, Field(strict=True, ge=1, le=DAYS_MAX, examples=[400])] | None


class UsageRetentionBody(StrictBody):
    """Raw events are there from `kept_from` on; null: all are. What a window that has not closed needs stays."""

    version: int
    raw_kept_days: int | None
    kept_from: Instant | None

    @classmethod
    async def shown(cls, retention: UsageRetention, uow: MeteringUnitOfWork) -> Self:
        return cls(
            version=retention.version,
            raw_kept_days=retention.kept_days,
            kept_from=await uow.retention.kept_from(),
        )


@router.get("", response_model=UsageRetentionBody, summary="Show how long raw events are kept")
async def get_usage_retention(call: ReadCall) -> Response:
    """Identities, running sums and the totals of windows are kept for ever."""

    async def work(uow: MeteringUnitOfWork) -> UsageRetentionBody:
        return await UsageRetentionBody.shown(await uow.retention.find(), uow)

    return await call.read(work)


@router.put("", response_model=UsageRetentionBody, summary="Say how long raw events are kept")
async def put_usage_retention(body: UsageRetentionChangeBody, call: WriteCall, clock: ClockDep) -> Response:
    """What lies further back is deleted, and does not come back when more is kept again."""
    command = KeepUsage(body.raw_kept_days)

    async def work(uow: MeteringUnitOfWork) -> UsageRetentionBody:
        retention = await keep_usage(command, uow=uow, clock=clock, check_version=call.require_version)
        return await UsageRetentionBody.shown(retention, uow)

    return await call.change(work)

"""The route that says how much was used."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from libs.common.web.bodies import Code, Instant, Zone
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.ask_usage import UsageQuestion, ask_usage
from services.metering.domain.usage_slices import SliceLength
from services.metering.entrypoints.bodies import AnyId, Dimension, UsageBody
from services.metering.entrypoints.dependencies import ClockDep, PortalReadCall
from services.metering.entrypoints.usage_event_bodies import Subject

router = APIRouter(prefix="/v1/usage", tags=["usage"])


@router.get("", response_model=UsageBody, summary="Ask how much was used")
async def get_usage(
    call: PortalReadCall,
    clock: ClockDep,
    meter: Annotated[Code, Query(description="The code of the meter.")],
    subject: Annotated[
        Subject | None, Query(description="Usage of this subject, bound or not; with an id, its part of it.")
    ] = None,
    item_id: Annotated[AnyId | None, Query(description="Usage bound to this subscription item.")] = None,
    subscription_id: Annotated[AnyId | None, Query()] = None,
    customer_id: Annotated[AnyId | None, Query()] = None,
    from_: Annotated[Instant | None, Query(alias="from", description="Default: this month's start.")] = None,
    to: Annotated[Instant | None, Query(description="Not included. Default: this month's end.")] = None,
    window: Annotated[SliceLength, Query(description="Cut the time by hours, days or months.")] = "none",
    zone: Annotated[Zone, Query(description="In whose days and months.")] = "UTC",
    group_by: Annotated[list[Dimension] | None, Query(max_length=5)] = None,
) -> Response:
    """Name a subject, a subscription item, a subscription or a customer. Everything stored by `as_of` is in."""
    question = UsageQuestion(
        meter=meter,
        subject=subject,
        item_id=item_id,
        subscription_id=subscription_id,
        customer_id=customer_id,
        of=call.customer,
        start=from_,
        end=to,
        length=window,
        zone=zone,
        group_by=tuple(group_by or ()),
    )

    async def work(uow: MeteringUnitOfWork) -> UsageBody:
        return UsageBody.from_answer(await ask_usage(question, uow=uow, clock=clock))

    return await call.read(work)

"""The route that says what the window under way of a subscription has come to, price by price."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.web.calls import JSON
from libs.common.web.late_routes import LateRouter
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.usage_so_far import UsageSoFar, usage_so_far
from services.metering.entrypoints.bodies import AnyId
from services.metering.entrypoints.dependencies import ClockDep, ReadCall
from services.metering.entrypoints.usage_so_far_bodies import UsageSoFarBody

router = LateRouter(prefix="/v1", tags=["usage"])


@router.get("/usage-so-far", response_model=UsageSoFarBody, summary="Show the usage of a period under way")
async def get_usage_so_far(
    call: ReadCall,
    clock: ClockDep,
    subscription_id: Annotated[AnyId, Query()],
) -> Response:
    """What the usage window of the period under way would say if it closed now, and how fresh that is.

    One total for each item; where the price of an item has changed in the period, one for each price. A subscription
    that has no usage prices, or that nobody has told of, has no window.
    """

    async def work(uow: MeteringUnitOfWork) -> UsageSoFar:
        return await usage_so_far(subscription_id, uow=uow, clock=clock)

    found = await call.run(work, snapshot=True)
    return Response(UsageSoFarBody.from_view(found).model_dump_json(), media_type=JSON)

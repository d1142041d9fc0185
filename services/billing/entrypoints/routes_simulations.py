"""The route that says what plans would come to."""

from __future__ import annotations

import asyncio
from typing import Annotated

from starlette.responses import Response

from libs.common.web.calls import JSON, Call, authorised
from libs.common.web.late_routes import LateRouter
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.check_simulation import check_simulation
from services.billing.application.gather_simulation import PlanVersionUnknown, gather_simulation
from services.billing.application.simulate_prices import simulate_prices
from services.billing.application.simulation_request import SimulatePrices, Supposed
from services.billing.entrypoints.simulated_bodies import PriceSimulationBody
from services.billing.entrypoints.simulation_bodies import NewPriceSimulationBody

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]

# A plan version that was published a moment ago may not have been heard of yet: it is waited for, a little.
LATE_NEWS = (PlanVersionUnknown,)

AT_ONCE_MAX = 2  # simulations of one process: each takes a thread, and all of them one processor


def simulation_router() -> LateRouter:
    router = LateRouter(prefix="/v1")
    places = asyncio.Semaphore(AT_ONCE_MAX)

    @router.post(
        "/price-simulations",
        response_model=PriceSimulationBody,
        tags=["simulations"],
        summary="Simulate what plans would come to",
    )
    async def post_price_simulation(body: NewPriceSimulationBody, call: Read) -> Response:
        """Rates quantities and usage, or what a subscription really used, under one or several plans side by side.

        Nothing is changed, and the same request gives the same answer. With each charge comes its explanation.
        """
        async with places:
            command = await asyncio.to_thread(_checked, body)

        async def work(uow: BillingUnitOfWork) -> Supposed:
            return await gather_simulation(command, uow=uow)

        supposed = await call.run(work, awaiting=LATE_NEWS)
        async with places:
            answer = await asyncio.to_thread(_answer, supposed)
        return Response(answer, media_type=JSON)

    return router


def _checked(body: NewPriceSimulationBody) -> SimulatePrices:
    command = body.to_command()
    check_simulation(command)
    return command


def _answer(supposed: Supposed) -> bytes:
    """Rated and written down beside the event loop, which belongs to everybody."""
    return PriceSimulationBody.from_domain(simulate_prices(supposed)).model_dump_json().encode()

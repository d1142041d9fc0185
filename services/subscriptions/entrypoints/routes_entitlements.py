"""The route that says what a customer may use now."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.web.bodies import Code
from libs.common.web.late_routes import LateRouter
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.answer_entitlements import (
    AnswerEntitlements,
    answer_entitlements,
)
from services.subscriptions.entrypoints.customer_bodies import CustomerId
from services.subscriptions.entrypoints.dependencies import ClockDep, PortalReadCall
from services.subscriptions.entrypoints.entitlement_bodies import EntitlementsBody

router = LateRouter(prefix="/v1/entitlements", tags=["entitlements"])


@router.get("", response_model=EntitlementsBody, summary="Ask what a customer may use")
async def get_entitlements(
    call: PortalReadCall,
    clock: ClockDep,
    customer_id: Annotated[
        CustomerId | None, Query(description="Who uses, whoever pays for it. Portal tokens may leave it out.")
    ] = None,
    feature: Annotated[Code | None, Query(description="The code of one feature: is it allowed?")] = None,
) -> Response:
    """Switches, limits, and what is left of allowances, over all subscriptions that are running.

    One that is suspended, paused, yet to begin, or over grants nothing. From what is stored here alone: a change is
    seen with the event that tells of it, usage a moment after it was stored.
    """
    question = AnswerEntitlements(customer_id, feature, of=call.customer)

    async def work(uow: SubscriptionsUnitOfWork) -> EntitlementsBody:
        return EntitlementsBody.from_answer(await answer_entitlements(question, uow=uow, clock=clock))

    return await call.read(work)

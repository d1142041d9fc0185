"""Disputes over HTTP: what banks ask back, as gateways and letters tell of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.money import CurrencyMismatch, Money
from libs.common.paging import Slice
from libs.common.web.bodies import MoneyBody
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.refund_queries import RefundQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.gateway_ports import Gateways
from services.billing.application.take_in_dispute import (
    DecideDispute,
    DisputeAtGateway,
    TellOfDispute,
    accept_dispute,
    decide_dispute,
    find_at_gateway,
    tell_of_dispute,
)
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.refund_bodies import (
    DisputeBody,
    DisputeId,
    DisputeOutcomeBody,
    DisputeStateText,
    NewDisputeBody,
    PaymentId,
)

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def dispute_router(clock: Clock, gateways: Gateways) -> LateRouter:
    """The routes, on the clock of the process, with the gateways that are told."""
    router = LateRouter(prefix="/v1/disputes", tags=["disputes"])

    async def now_of(clock_id: str | None, uow: BillingUnitOfWork) -> datetime:
        return clock.business_now(await uow.test_clock(clock_id))

    @router.post("", status_code=201, response_model=DisputeBody, summary="Tell of a dispute")
    async def post_dispute(body: NewDisputeBody, call: Make) -> Response:
        """That a bank told of by letter: what the payment paid is due again. Gateways tell of theirs themselves."""

        async def work(uow: BillingUnitOfWork) -> DisputeBody:
            payment = await uow.payments.get(body.payment_id)
            currency = payment.amount.currency
            command = TellOfDispute(
                payment.id,
                _money(body.amount, currency, "/amount"),
                body.reason,
                body.reference,
                None if body.fee is None else body.fee.to_money(),
                await now_of(payment.clock_id, uow),
            )
            return DisputeBody.from_domain(await tell_of_dispute(command, uow=uow))

        return await call.once(work, location=lambda dispute: f"/v1/disputes/{dispute.id}")

    @router.get("", response_model=Page[DisputeBody], summary="List disputes")
    async def list_disputes(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        payment_id: Annotated[PaymentId | None, Query()] = None,
        state: Annotated[DisputeStateText | None, Query()] = None,
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[DisputeBody]:
            if call.customer is not None and customer_id not in (None, call.customer):
                return Slice(items=())
            found = await RefundQueries(uow).list_disputes(
                page, customer_id=call.customer or customer_id, payment_id=payment_id, state=state
            )
            return found.map(DisputeBody.from_domain)

        return await call.page(work)

    @router.get("/{dispute_id}", response_model=DisputeBody, summary="Show a dispute")
    async def get_dispute(dispute_id: DisputeId, call: PortalRead) -> Response:
        async def work(uow: BillingUnitOfWork) -> DisputeBody:
            return DisputeBody.from_domain(
                await RefundQueries(uow).get_dispute(dispute_id, customer_id=call.customer)
            )

        return await call.read(work)

    @router.post(
        "/{dispute_id}/accept", status_code=201, response_model=DisputeBody, summary="Accept a dispute"
    )
    async def post_dispute_acceptance(dispute_id: DisputeId, call: Make) -> Response:
        """The money is left to the customer. What he owes by that stays due; credit it where he shall not pay.

        A gateway that told of it is told first, and says in the end that the dispute is lost.
        """

        async def find_known(uow: BillingUnitOfWork) -> DisputeAtGateway | None:
            return await find_at_gateway(dispute_id, uow=uow, check_version=call.require_version)

        known_there = await call.run(find_known)
        if known_there is not None:
            await gateways[known_there.gateway].accept_dispute(
                tenant=call.tenant, account=known_there.account, reference=known_there.reference
            )

        async def work(uow: BillingUnitOfWork) -> DisputeBody:
            known = await uow.disputes.get(dispute_id)
            now = await now_of(known.clock_id, uow)
            return DisputeBody.from_domain(
                await accept_dispute(dispute_id, now=now, uow=uow, check_version=call.require_version)
            )

        return await call.once(work, location=lambda dispute: f"/v1/disputes/{dispute.id}")

    @router.post(
        "/{dispute_id}/outcome",
        status_code=201,
        response_model=DisputeBody,
        summary="Say how a dispute ended",
    )
    async def post_dispute_outcome(dispute_id: DisputeId, body: DisputeOutcomeBody, call: Make) -> Response:
        """Of one that a person told of. Won, the money is back and pays again what it had paid."""

        async def work(uow: BillingUnitOfWork) -> DisputeBody:
            known = await uow.disputes.get(dispute_id)
            returned = _money(body.returned, known.amount.currency, "/returned")
            command = DecideDispute(dispute_id, body.outcome, returned, await now_of(known.clock_id, uow))
            return DisputeBody.from_domain(
                await decide_dispute(command, uow=uow, check_version=call.require_version)
            )

        return await call.once(work, location=lambda dispute: f"/v1/disputes/{dispute.id}")

    return router


def _money(given: MoneyBody | None, currency: str, pointer: str) -> Money | None:
    """Raises: CurrencyMismatch."""
    if given is None:
        return None
    if given.currency != currency:
        raise CurrencyMismatch(
            "the payment is in another currency",
            pointer=f"{pointer}/currency",
            one=currency,
            other=given.currency,
        )
    return given.to_money()

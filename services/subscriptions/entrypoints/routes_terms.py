"""Routes of terms: the earliest end, early-termination quotes, renewals, and what consumers declare."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import PlainTextResponse, Response

from libs.common.web.bodies import BusinessDate
from libs.common.web.calls import Tagged
from libs.common.web.late_routes import LateRouter
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import queries
from services.subscriptions.application.declare_end import declare_end
from services.subscriptions.application.quote_early_termination import quote_early_termination
from services.subscriptions.application.renew_term import renew_term
from services.subscriptions.domain.plan import PlanNotFound
from services.subscriptions.entrypoints.bodies import SubscriptionBody, SubscriptionId
from services.subscriptions.entrypoints.dependencies import (
    AgreeCall,
    ClockDep,
    PortalDeclareCall,
    PortalReadCall,
)
from services.subscriptions.entrypoints.term_bodies import (
    ConsumerCancellationBody,
    EarliestEndBody,
    NewQuoteBody,
    QuoteBody,
    QuoteId,
    ReceiptBody,
    ReceiptId,
    RenewalBody,
    WithdrawalBody,
)

router = LateRouter(prefix="/v1/subscriptions", tags=["terms"])
declarations = LateRouter(prefix="/v1", tags=["receipts"])


@router.get(
    "/{subscription_id}/earliest-end", response_model=EarliestEndBody, summary="Read the earliest end"
)
async def get_earliest_end(
    subscription_id: SubscriptionId,
    call: PortalReadCall,
    clock: ClockDep,
    on: Annotated[
        BusinessDate | None, Query(description="The day on which the cancellation is received; today.")
    ] = None,
) -> Response:
    """When the subscription can end at no cost, for a cancellation received on a day.

    That is after the notice, and not before its minimum term is over.
    """

    async def work(uow: SubscriptionsUnitOfWork) -> EarliestEndBody:
        earliest, subscription = await queries.get_earliest_end(
            subscription_id, on, portal_customer=call.customer, uow=uow, clock=clock
        )
        return EarliestEndBody.from_domain(earliest, subscription.term)

    return await call.read(work)


@router.post(
    "/{subscription_id}/termination-quotes",
    status_code=201,
    response_model=QuoteBody,
    summary="Quote an early termination",
)
async def post_termination_quote(
    subscription_id: SubscriptionId, body: NewQuoteBody, call: AgreeCall, clock: ClockDep
) -> Response:
    """What it costs to end on a day before the term does, by the policy that was agreed on. The amount is binding until
    the quote expires, whatever becomes of prices. Cancel with its id to accept it.
    """
    command = body.to_command(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> QuoteBody:
        return QuoteBody.from_domain(await quote_early_termination(command, uow=uow, clock=clock))

    return await call.once(
        work, location=lambda made: f"/v1/subscriptions/{subscription_id}/termination-quotes/{made.id}"
    )


@router.get(
    "/{subscription_id}/termination-quotes/{quote_id}",
    response_model=QuoteBody,
    summary="Read an early-termination quote",
)
async def get_termination_quote(
    subscription_id: SubscriptionId, quote_id: QuoteId, call: PortalReadCall
) -> Response:
    async def work(uow: SubscriptionsUnitOfWork) -> QuoteBody:
        found = await queries.get_quote(
            quote_id, subscription_id=subscription_id, portal_customer=call.customer, uow=uow
        )
        return QuoteBody.from_domain(found)

    return await call.read(work)


@router.post(
    "/{subscription_id}/renewal",
    status_code=200,
    response_model=SubscriptionBody,
    summary="Agree on a new term",
)
async def post_renewal(
    subscription_id: SubscriptionId, body: RenewalBody, call: AgreeCall, clock: ClockDep
) -> Response:
    """A new minimum term, with a plan of its own if you like, which follows the one that runs or begins now."""
    command = body.to_command(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        renewed = await renew_term(command, uow=uow, clock=clock, check_version=call.require_version)
        return SubscriptionBody.from_domain(renewed)

    return await call.once(work, status=200, awaiting=(PlanNotFound,))


@declarations.post(
    "/withdrawals", status_code=201, response_model=ReceiptBody, summary="Withdraw from an agreement"
)
async def post_withdrawal(body: WithdrawalBody, call: PortalDeclareCall, clock: ClockDep) -> Response:
    """A consumer withdraws, within the days that were agreed on: the subscription ends at once, and what was charged is
    given back but for the days that it was used and for usage. The answer is the receipt.
    """

    async def work(uow: SubscriptionsUnitOfWork) -> ReceiptBody:
        receipt = await declare_end(body.to_command(), portal_customer=call.customer, uow=uow, clock=clock)
        return ReceiptBody.from_domain(receipt)

    return await call.once(work, location=lambda made: f"/v1/receipts/{made.id}")


@declarations.post(
    "/cancellations",
    status_code=201,
    response_model=ReceiptBody,
    summary="Cancel an agreement as a consumer",
)
async def post_consumer_cancellation(
    body: ConsumerCancellationBody, call: PortalDeclareCall, clock: ClockDep
) -> Response:
    """A consumer cancels: the subscription ends as early as its term allows, and the receipt says when that is."""

    async def work(uow: SubscriptionsUnitOfWork) -> ReceiptBody:
        receipt = await declare_end(body.to_command(), portal_customer=call.customer, uow=uow, clock=clock)
        return ReceiptBody.from_domain(receipt)

    return await call.once(work, location=lambda made: f"/v1/receipts/{made.id}")


@declarations.get("/receipts/{receipt_id}", response_model=ReceiptBody, summary="Read a receipt")
async def get_receipt(receipt_id: ReceiptId, call: PortalReadCall) -> Response:
    async def work(uow: SubscriptionsUnitOfWork) -> Tagged[ReceiptBody]:
        found = await queries.get_receipt(receipt_id, portal_customer=call.customer, uow=uow)
        return Tagged(ReceiptBody.from_domain(found), 1)

    return await call.read(work)


@declarations.get(
    "/receipts/{receipt_id}/text",
    response_class=PlainTextResponse,
    summary="Read a receipt as text",
)
async def get_receipt_text(receipt_id: ReceiptId, call: PortalReadCall) -> Response:
    """The same in words, to be kept or printed."""

    async def work(uow: SubscriptionsUnitOfWork) -> str:
        return (await queries.get_receipt(receipt_id, portal_customer=call.customer, uow=uow)).text

    return PlainTextResponse(await call.run(work))

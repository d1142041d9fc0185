"""Routes of customers."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import ExternalId
from libs.common.web.calls import Tagged
from libs.common.web.contact_bodies import Email
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import queries
from services.subscriptions.application.change_customer import ChangeCustomer, change_customer
from services.subscriptions.application.create_customer import create_customer
from services.subscriptions.application.erase_customer import EraseCustomer, erase_customer
from services.subscriptions.application.ports import CustomerFilter
from services.subscriptions.entrypoints.customer_bodies import (
    CustomerBody,
    CustomerChangeBody,
    CustomerCreateBody,
    CustomerErasureBody,
    CustomerId,
    NamePrefix,
)
from services.subscriptions.entrypoints.dependencies import (
    AgreeCall,
    ClockDep,
    MakeCall,
    PortalReadCall,
    ReadCall,
    WriteCall,
)

router = LateRouter(prefix="/v1/customers", tags=["customers"])


@router.post("", status_code=201, response_model=CustomerBody, summary="Add a customer")
async def post_customer(body: CustomerCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """Somebody who agrees and pays. An external id is one customer's only."""

    async def work(uow: SubscriptionsUnitOfWork) -> CustomerBody:
        return CustomerBody.from_domain(await create_customer(body.to_command(), uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/customers/{made.id}")


@router.get("", response_model=Page[CustomerBody], summary="List customers")
async def list_customers(
    call: ReadCall,
    page: PageDep,
    external_id: Annotated[ExternalId | None, Query()] = None,
    email: Annotated[Email | None, Query(description="The whole address, in capitals or not.")] = None,
    name_prefix: Annotated[
        NamePrefix | None, Query(description="How the name begins, in capitals or not.")
    ] = None,
    parent_id: Annotated[CustomerId | None, Query(description="Who pays for them, at once.")] = None,
) -> Response:
    """Oldest first."""
    wanted = CustomerFilter(
        external_id=external_id, email=email, name_prefix=name_prefix, parent_id=parent_id
    )

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[CustomerBody]:
        return (await queries.list_customers(wanted, page, uow=uow)).map(CustomerBody.from_domain)

    return await call.page(work)


@router.get("/{customer_id}", response_model=CustomerBody, summary="Show a customer")
async def get_customer(customer_id: CustomerId, call: PortalReadCall) -> Response:
    async def work(uow: SubscriptionsUnitOfWork) -> CustomerBody:
        found = await queries.get_customer(customer_id, portal_customer=call.customer, uow=uow)
        return CustomerBody.from_domain(found)

    return await call.read(work)


@router.patch("/{customer_id}", response_model=CustomerBody, summary="Change a customer")
async def patch_customer(
    customer_id: CustomerId, body: CustomerChangeBody, call: WriteCall, clock: ClockDep
) -> Response:
    """What was agreed or billed before keeps the details of its time."""
    command = ChangeCustomer(customer_id=customer_id, changes=body.changes())

    async def work(uow: SubscriptionsUnitOfWork) -> CustomerBody:
        changed = await change_customer(command, uow=uow, clock=clock, check_version=call.require_version)
        return CustomerBody.from_domain(changed)

    return await call.change(work)


@router.post("/{customer_id}/erasure", response_model=CustomerErasureBody, summary="Erase a customer")
async def post_erasure(customer_id: CustomerId, call: AgreeCall, clock: ClockDep) -> Response:
    """For good: name, legal name, email, address, VAT id, external id and metadata go; the answer says what is kept.

    Refused while it has or pays for a subscription that is not over, pays for another customer, or has an invoice that is
    known to be unpaid. After it, the customer can neither be changed nor agree to anything.
    """
    command = EraseCustomer(customer_id=customer_id)

    async def work(uow: SubscriptionsUnitOfWork) -> Tagged[CustomerErasureBody]:
        erased = await erase_customer(command, uow=uow, clock=clock, check_version=call.require_version)
        return Tagged(CustomerErasureBody.from_domain(erased), erased.version)

    return await call.once(work, status=200)

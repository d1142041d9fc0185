"""How customers stand, each by its own clock. Under a portal token nothing of another customer's is there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from libs.common.clock import Clock
from libs.common.paging import PageRequest, Slice
from libs.common.periods import local_date
from services.subscriptions.application.ports import StandingFilter, UnitOfWork
from services.subscriptions.application.queries import get_customer
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.customer_standing import CustomerStanding, standing_of_customer


async def get_customer_standing(
    id: str, *, portal_customer: str | None, uow: UnitOfWork, clock: Clock
) -> CustomerStanding:
    """Raises: CustomerNotFound."""
    customer = await get_customer(id, portal_customer=portal_customer, uow=uow)
    return (await _standings([customer], uow=uow, clock=clock))[0]


async def list_customer_standings(
    wanted: StandingFilter, page: PageRequest, *, uow: UnitOfWork, clock: Clock
) -> Slice[CustomerStanding]:
    """In the order in which the customers were made."""
    found = await uow.customer_standings.list_page(wanted, clock.system_now(), page)
    return Slice(items=tuple(await _standings(found.items, uow=uow, clock=clock)), next=found.next)


async def _standings(
    customers: Sequence[Customer], *, uow: UnitOfWork, clock: Clock
) -> list[CustomerStanding]:
    """A fixed number of statements, however many customers they are. The day is that of the customer's zone."""
    ids = [customer.id for customer in customers]
    agreements = await uow.customer_standings.agreements_of(ids)
    days = await uow.customer_standings.revenue_days_of(ids)
    clocks = await uow.customer_standings.clocks_of(ids)
    owed = await uow.customer_invoices.owed_by(ids)
    return [
        standing_of_customer(
            one.id,
            local_date(clocks.get(one.id, clock.system_now()), one.zone or str(UTC)),
            agreements.get(one.id, ()),
            days.get(one.id, ()),
            owed.get(one.id, ()),
        )
        for one in customers
    ]

"""The catalog hears of customers, and of subscriptions that begin: coupons can be redeemed for them."""

from __future__ import annotations

from dataclasses import dataclass

from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.known_customer import KnownSubscription


@dataclass(frozen=True, slots=True)
class NoteCustomer:
    customer_id: str


async def note_customer(command: NoteCustomer, *, uow: UnitOfWork) -> None:
    """Hearing of it again changes nothing."""
    uow.known_customers.put(command.customer_id)


@dataclass(frozen=True, slots=True)
class NoteSubscription:
    subscription: KnownSubscription


async def note_subscription(command: NoteSubscription, *, uow: UnitOfWork) -> None:
    """Its customer is known by it as well, whichever of the two is heard of first."""
    uow.known_customers.put(command.subscription.customer_id)
    uow.known_customers.put_subscription(command.subscription)

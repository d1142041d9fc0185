"""Make a customer known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.subscriptions.application import events
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.customer import Customer


@dataclass(frozen=True, slots=True)
class CreateCustomer:
    name: str
    email: str | None = None
    external_id: str | None = None
    country: str | None = None
    currency: str | None = None
    zone: str | None = None
    metadata: Mapping[str, str] | None = None


async def create_customer(command: CreateCustomer, *, uow: UnitOfWork, clock: Clock) -> Customer:
    """A new customer. Another one with the same external id is refused when this is saved.

    Emits: CustomerChanged.
    Raises: UnknownCurrency, UnknownZone.
    """
    now = clock.system_now()
    customer = Customer(
        id=new_id("cus", now),
        name=command.name,
        created_at=now,
        email=command.email,
        external_id=command.external_id,
        country=command.country,
        currency=command.currency,
        zone=command.zone,
        metadata=dict(command.metadata or {}),
    )
    uow.customers.add(customer)
    uow.record("customer.created", customer.id, customer.version)
    uow.outbox.append(events.for_customer(customer, tenant=uow.tenant, occurred_at=now), key=customer.id)
    return customer

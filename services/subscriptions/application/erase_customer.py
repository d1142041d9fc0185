"""Erase what identifies a customer, once nothing under way needs it."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from services.subscriptions.application import events
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.domain import customer as customers
from services.subscriptions.domain.customer import Customer


@dataclass(frozen=True, slots=True)
class EraseCustomer:
    customer_id: str


async def erase_customer(
    command: EraseCustomer, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Customer:
    """Erase for good. Doing it twice does it once, and is told once. The change log names the customer by its id alone.

    Whoever agrees on a subscription holds the customer, and whoever gives it a child holds its family: neither can
    come in between.
    Emits: CustomerChanged.
    Raises: CustomerNotFound, CustomerNotErasable.
    """
    customer = await uow.customers.get_for_update(command.customer_id)
    check_version(customer.version)
    await uow.customers.hold_families()
    in_the_way = await uow.customers.find_in_the_way(customer.id)
    now = clock.system_now()
    erased = customers.erase_customer(customer, in_the_way, now)
    if erased is customer:
        return customer
    uow.customers.save(erased)
    uow.record("customer.erased", erased.id, erased.version)
    uow.outbox.append(events.for_customer(erased, tenant=uow.tenant, occurred_at=now), key=erased.id)
    return erased

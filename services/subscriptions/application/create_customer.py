"""Make a customer known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.subscriptions.application import events
from services.subscriptions.application.payers import refuse_parent
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.customer import Customer, checked
from services.subscriptions.domain.postal_address import PostalAddress


@dataclass(frozen=True, slots=True)
class CreateCustomer:
    name: str
    legal_name: str | None = None
    email: str | None = None
    external_id: str | None = None
    address: PostalAddress | None = None
    country: str | None = None
    vat_id: str | None = None
    currency: str | None = None
    zone: str | None = None
    locale: str | None = None
    parent_id: str | None = None
    payment_terms_days: int | None = None
    metadata: Mapping[str, str] | None = None


async def create_customer(command: CreateCustomer, *, uow: UnitOfWork, clock: Clock) -> Customer:
    """A new customer. Another one with the same external id is refused when this is saved.

    Emits: CustomerChanged.
    Raises: UnknownCurrency, UnknownZone, LocaleUnknown, VatIdInvalid, VatIdOfAnotherCountry, VatIdNotCheckable;
    CustomerNotFound, CustomerErased and FamilyTooDeep of its parent.
    """
    now = clock.system_now()
    customer = checked(
        Customer(
            id=new_id("cus", now),
            name=command.name,
            created_at=now,
            legal_name=command.legal_name,
            email=command.email,
            external_id=command.external_id,
            address=command.address,
            country=command.country,
            vat_id=command.vat_id,
            currency=command.currency,
            zone=command.zone,
            locale=command.locale,
            parent_id=command.parent_id,
            payment_terms_days=command.payment_terms_days,
            metadata=dict(command.metadata or {}),
        )
    )
    await refuse_parent(customer, uow=uow)
    uow.customers.add(customer)
    uow.record("customer.created", customer.id, customer.version)
    uow.outbox.append(events.for_customer(customer, tenant=uow.tenant, occurred_at=now), key=customer.id)
    return customer

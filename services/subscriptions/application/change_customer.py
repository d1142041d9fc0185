"""Change what is known of a customer. What was billed or agreed before keeps the old details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from libs.common.clock import Clock
from services.subscriptions.application import events
from services.subscriptions.application.payers import refuse_parent
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.domain import customer as customers
from services.subscriptions.domain.customer import Customer


@dataclass(frozen=True, slots=True)
class ChangeCustomer:
    """`changes` holds the fields to change, by name."""

    customer_id: str
    changes: Mapping[str, Any]


async def change_customer(
    command: ChangeCustomer, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Customer:
    """Change the named fields. What is already so changes nothing and is told to nobody.

    Whoever pays for it from now on is named by the next event of each of its subscriptions, and so on its next document.
    Emits: CustomerChanged.
    Raises: CustomerNotFound, CustomerErased, UnknownCurrency, UnknownZone, LocaleUnknown, VatIdInvalid,
    VatIdOfAnotherCountry, VatIdNotCheckable, PayerInCircle, FamilyTooDeep.
    """
    customer = await uow.customers.get_for_update(command.customer_id)
    check_version(customer.version)
    changed = customers.change_customer(customer, command.changes)
    if changed is customer:
        return customer
    if changed.parent_id != customer.parent_id:
        await refuse_parent(changed, uow=uow)
    uow.customers.save(changed)
    uow.record("customer.changed", changed.id, changed.version)
    uow.outbox.append(
        events.for_customer(changed, tenant=uow.tenant, occurred_at=clock.system_now()), key=changed.id
    )
    return changed

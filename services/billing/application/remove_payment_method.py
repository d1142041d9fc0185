"""A customer's way to pay goes away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from services.billing.application import events
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.payment import PaymentMethod


@dataclass(frozen=True, slots=True)
class RemovePaymentMethod:
    """Both are locked, the customer first. `now` is the wall's, `business_now` the customer's."""

    method: PaymentMethod
    customer: CustomerDetails
    now: datetime
    business_now: datetime


async def remove_payment_method(command: RemovePaymentMethod, *, uow: UnitOfWork) -> None:
    """The newest of those that are left becomes the default.

    A call of the gateway that is under way, or whose outcome is unknown, keeps the method that it was made with.
    Emits: PaymentMethodChanged, with the customer's last.
    """
    method, customer = command.method, command.customer
    removed = replace(method, is_default=False, removed_at=command.now, version=method.version + 1)
    await uow.payment_methods.remove(removed)
    uow.record("payment_method.removed", removed.id, removed.version)
    left = await uow.payment_methods.of_customer(customer.id)
    if not left:
        told = events.payment_method_changed(
            customer,
            has_payment_method=False,
            version=await uow.payment_methods.count_changes(customer.id),
            occurred_at=command.business_now,
            tenant=uow.tenant,
        )
        uow.outbox.append(told, key=customer.id)
    elif method.is_default:
        newest = await uow.payment_methods.get_for_update(left[-1].id)
        uow.payment_methods.save(replace(newest, is_default=True, version=newest.version + 1))
        uow.record("payment_method.made_default", newest.id, newest.version + 1)

"""A customer's way to pay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.ids import new_id
from services.billing.application import events
from services.billing.application.ports import UnitOfWork
from services.billing.domain.payment import PaymentMethod


class CustomerNotFound(NotFound):
    code = "customer_not_found"
    title = "There is no such customer"


class SandboxOnly(RuleViolation):
    code = "sandbox_only"
    title = "Only in a sandbox"


class TenantNotKnownYet(Conflict):
    """Billing has not heard of the tenant yet, which takes a moment after it was made."""

    code = "tenant_not_known_yet"
    title = "The tenant is not known here yet"


@dataclass(frozen=True, slots=True)
class AddPaymentMethod:
    """`tenant_mode` is None while billing has not heard of the tenant."""

    customer_id: str
    gateway: str
    behaviour: str
    tenant_mode: Literal["live", "sandbox"] | None


async def add_payment_method(
    command: AddPaymentMethod, *, now: datetime, business_now: datetime | None = None, uow: UnitOfWork
) -> PaymentMethod:
    """The newest payment method becomes the customer's default; earlier ones stay and are no longer asked.

    `now` is the wall's, `business_now` the customer's where he lives by a test clock.
    Emits: PaymentMethodChanged, where the customer had none.
    Raises: CustomerNotFound, SandboxOnly, TenantNotKnownYet.
    """
    _check_gateway(command)
    customer = await uow.customers.find_for_update(command.customer_id)
    if customer is None:
        raise CustomerNotFound("no customer has this id", pointer="/customer_id")
    earlier = await uow.payment_methods.find_default(command.customer_id)
    if earlier is not None:
        locked = await uow.payment_methods.get_for_update(earlier.id)
        uow.payment_methods.save(replace(locked, is_default=False, version=locked.version + 1))
    method = PaymentMethod(
        id=new_id("pm"),
        customer_id=command.customer_id,
        gateway=command.gateway,
        behaviour=command.behaviour,
        is_default=True,
        version=1,
        created_at=now,
    )
    if earlier is None:
        told = events.payment_method_changed(
            customer,
            has_payment_method=True,
            version=await uow.payment_methods.count_changes(customer.id) + 1,
            occurred_at=business_now or now,
            tenant=uow.tenant,
        )
        uow.outbox.append(told, key=customer.id)
    uow.payment_methods.add(method)
    uow.record("payment_method.added", method.id)
    return method


def _check_gateway(command: AddPaymentMethod) -> None:
    if command.tenant_mode is None:
        raise TenantNotKnownYet("the tenant was made a moment ago", remedy="Send the request again.")
    if command.gateway == "sandbox" and command.tenant_mode != "sandbox":
        raise SandboxOnly(
            "the sandbox gateway moves no money",
            pointer="/gateway",
            remedy="Use it with a sandbox tenant; live gateways are configured by the operator.",
        )

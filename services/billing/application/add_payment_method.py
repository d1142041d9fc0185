"""A customer's way to pay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import NotFound, RuleViolation
from libs.common.ids import new_id
from services.billing.application.ports import UnitOfWork
from services.billing.domain.payment import PaymentMethod


class CustomerNotFound(NotFound):
    code = "customer_not_found"
    title = "There is no such customer"


class SandboxOnly(RuleViolation):
    code = "sandbox_only"
    title = "Only in a sandbox"


@dataclass(frozen=True, slots=True)
class AddPaymentMethod:
    customer_id: str
    gateway: str
    behaviour: str
    is_sandbox: bool


async def add_payment_method(command: AddPaymentMethod, *, now: datetime, uow: UnitOfWork) -> PaymentMethod:
    """The newest payment method becomes the customer's default; earlier ones stay and are no longer asked.

    Raises: CustomerNotFound, SandboxOnly.
    """
    if command.gateway == "sandbox" and not command.is_sandbox:
        raise SandboxOnly(
            "the sandbox gateway moves no money",
            pointer="/gateway",
            remedy="Use it with a sandbox tenant; live gateways are configured by the operator.",
        )
    if await uow.customers.find(command.customer_id) is None:
        raise CustomerNotFound("no customer has this id", pointer="/customer_id")
    for earlier in await uow.payment_methods.lock_of_customer(command.customer_id):
        if earlier.is_default:
            uow.payment_methods.save(replace(earlier, is_default=False, version=earlier.version + 1))
    method = PaymentMethod(
        id=new_id("pm"),
        customer_id=command.customer_id,
        gateway=command.gateway,
        behaviour=command.behaviour,
        is_default=True,
        version=1,
        created_at=now,
    )
    uow.payment_methods.add(method)
    uow.record("payment_method.added", method.id)
    return method

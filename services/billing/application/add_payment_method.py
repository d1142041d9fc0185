"""A customer's way to pay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.ids import new_id
from services.billing.application import events
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.payment import AcceptedMethod, PaymentMethod, PaymentMethodNotFound


class CustomerNotFound(NotFound):
    code = "customer_not_found"
    title = "There is no such customer"


class SandboxOnly(RuleViolation):
    code = "sandbox_only"
    title = "Only in a sandbox"


class GatewayModeWrong(RuleViolation):
    """A live tenant's customers pay with money, and a sandbox's never do."""

    code = "gateway_mode_wrong"
    title = "The account at the gateway is for another kind of tenant"


class PaymentTokenTaken(Conflict):
    code = "payment_token_taken"
    title = "Another payment method has this token"


class TenantNotKnownYet(Conflict):
    """Billing has not heard of the tenant yet, which takes a moment after it was made."""

    code = "tenant_not_known_yet"
    title = "The tenant is not known here yet"


@dataclass(frozen=True, slots=True)
class AddPaymentMethod:
    """`tenant_mode` is None while billing has not heard of the tenant.

    `accepted` is what the gateway says of the `token`, and `account_mode` whether that account moves money.
    `replaces_id` is a method of the same customer that goes as this one comes.
    """

    customer_id: str
    gateway: str
    behaviour: str | None
    tenant_mode: Literal["live", "sandbox"] | None
    token: str | None = None
    accepted: AcceptedMethod | None = None
    account_mode: Literal["live", "sandbox"] | None = None
    replaces_id: str | None = None


async def add_payment_method(
    command: AddPaymentMethod, *, now: datetime, business_now: datetime | None = None, uow: UnitOfWork
) -> PaymentMethod:
    """The newest payment method becomes the customer's default; earlier ones stay and are no longer asked.

    `now` is the wall's, `business_now` the customer's where he lives by a test clock.
    Emits: PaymentMethodChanged, where the customer had none.
    Raises: CustomerNotFound, SandboxOnly, TenantNotKnownYet, GatewayModeWrong, PaymentTokenTaken, PaymentMethodNotFound.
    """
    check_gateway(command.gateway, tenant_mode=command.tenant_mode, account_mode=command.account_mode)
    customer = await uow.customers.find_for_update(command.customer_id)
    if customer is None:
        raise CustomerNotFound("no customer has this id", pointer="/customer_id")
    await _check_token(command, uow)
    earlier = await uow.payment_methods.find_default(command.customer_id)
    if command.replaces_id is not None:
        await _take_away(command.replaces_id, customer, now=now, uow=uow)
    if earlier is not None and earlier.id != command.replaces_id:
        locked = await uow.payment_methods.get_for_update(earlier.id)
        uow.payment_methods.save(replace(locked, is_default=False, version=locked.version + 1))
    method = PaymentMethod(
        id=new_id("pm"),
        customer_id=command.customer_id,
        gateway=command.gateway,
        is_default=True,
        version=1,
        created_at=now,
        behaviour=command.behaviour,
        token=command.token,
        account=command.accepted.account if command.accepted else None,
        gateway_customer=command.accepted.gateway_customer if command.accepted else None,
        details=command.accepted.details if command.accepted else None,
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


async def _check_token(command: AddPaymentMethod, uow: UnitOfWork) -> None:
    if command.accepted is None or command.accepted.account is None or command.token is None:
        return
    taken = await uow.payment_methods.find_by_token(
        gateway=command.gateway, account=command.accepted.account, token=command.token
    )
    if taken is not None and taken.id != command.replaces_id:
        raise PaymentTokenTaken(
            "a payment method has this token already",
            pointer="/token",
            remedy="Use that payment method, or set up another one at the gateway.",
        )


async def _take_away(id: str, customer: CustomerDetails, *, now: datetime, uow: UnitOfWork) -> None:
    """The customer is never without one meanwhile, so that nobody needs to hear of it."""
    known = await uow.payment_methods.find_for_update(id)
    if known is None or known.customer_id != customer.id or known.removed_at is not None:
        raise PaymentMethodNotFound("the customer has no such payment method", pointer="/replaces")
    await uow.payment_methods.remove(
        replace(known, is_default=False, removed_at=now, version=known.version + 1)
    )
    uow.record("payment_method.removed", known.id, known.version + 1)


def check_gateway(
    gateway: str,
    *,
    tenant_mode: Literal["live", "sandbox"] | None,
    account_mode: Literal["live", "sandbox"] | None,
) -> None:
    """Raises: TenantNotKnownYet, SandboxOnly, GatewayModeWrong."""
    if tenant_mode is None:
        raise TenantNotKnownYet("the tenant was made a moment ago", remedy="Send the request again.")
    if gateway == "sandbox" and tenant_mode != "sandbox":
        raise SandboxOnly(
            "the sandbox gateway moves no money",
            pointer="/gateway",
            remedy="Use it with a sandbox tenant; live gateways are configured by the operator.",
        )
    if account_mode is not None and account_mode != tenant_mode:
        raise GatewayModeWrong(
            f"the account is a {account_mode} one, and the tenant is {tenant_mode}",
            pointer="/account",
            remedy="Live tenants need an account with a live key, sandboxes one with a test key.",
        )

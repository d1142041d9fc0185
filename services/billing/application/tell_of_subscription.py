"""Something became of a subscription of which its customer is told by mail: what the event lacks is known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import is_mailed, queue_mail
from services.billing.domain.mail import MailKind, MailValue


@dataclass(frozen=True, slots=True)
class TellOfSubscription:
    """`fact` names what happened. `customer_id` of None is who uses it; `plan_name` of None is looked up."""

    kind: MailKind
    subscription_id: str
    fact: str
    occurred_at: datetime
    details: Mapping[str, MailValue] = field(default_factory=dict)
    customer_id: str | None = None
    plan_name: str | None = None


async def tell_of_subscription(command: TellOfSubscription, *, uow: UnitOfWork) -> None:
    """A repeat tells nobody twice. Of a subscription that nobody has told of yet, nothing can be said.

    The seller is that of the customer's invoices. What was received is kept by whoever was told of it: its mail is the
    receipt on a durable medium. Source: directive 2011/83/EU, articles 11(3) and 11a.
    """
    if not await uow.mails.is_wanted():
        return
    agreement = await uow.agreements.find_for_update(command.subscription_id)
    if agreement is None:
        return
    named = command.customer_id
    customer = next((party for party in agreement.parties if party.id == named), agreement.customer)
    profile = await uow.billing_profiles.find(customer.id)
    seller_id = None if profile is None else profile.seller_id
    found = await uow.sellers.find(seller_id) if seller_id is not None else await uow.sellers.find_default()
    if not is_mailed(found, command.kind):
        return
    plan_name = command.plan_name or await _plan_name(agreement.plan_code, uow) or agreement.id
    queue_mail(
        command.kind,
        fact=command.fact,
        seller=found,
        customer=customer,
        profile=profile,
        now=command.occurred_at,
        uow=uow,
        details={**command.details, "plan": plan_name, "zone": agreement.zone},
        subscription_id=agreement.id,
    )


async def _plan_name(code: str, uow: UnitOfWork) -> str | None:
    plan = await uow.plan_versions.find_by_code(code, None) if code else None
    return code or None if plan is None else plan.name

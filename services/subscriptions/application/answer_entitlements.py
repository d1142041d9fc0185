"""What may this customer use now?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import RuleViolation
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.customer import CustomerNotFound
from services.subscriptions.domain.entitlement import (
    Entitlement,
    entitlements_of,
    find_withheld,
    usage_needed_from,
)


class CustomerUnnamed(RuleViolation):
    """Only a portal token says by itself who is meant."""

    code: ClassVar[str] = "customer_unnamed"
    title: ClassVar[str] = "It is not said which customer is meant"


@dataclass(frozen=True, slots=True)
class AnswerEntitlements:
    """`feature` is the code of the one that is asked for; None: all that is granted. `of`: who asks for himself."""

    customer_id: str | None
    feature: str | None = None
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Entitlements:
    customer_id: str
    granted: tuple[Entitlement, ...]


async def answer_entitlements(question: AnswerEntitlements, *, uow: UnitOfWork, clock: Clock) -> Entitlements:
    """From what is stored here alone: who uses counts, whoever pays.

    Asked for one feature that is withheld for now, the answer says why; it is empty if nothing would grant it.
    Raises: CustomerUnnamed, CustomerNotFound.
    """
    customer_id = question.customer_id or question.of
    if customer_id is None:
        raise CustomerUnnamed("name the customer", remedy="Say customer_id: who uses, whoever pays for it.")
    found = None
    if question.of in (None, customer_id):
        found = await uow.entitlements.find(customer_id, clock.system_now())
    if found is None:
        raise CustomerNotFound("there is no customer with this id")
    needed = usage_needed_from(found)
    balances = await uow.usage_balances.list_since(needed) if needed else []
    granted = entitlements_of(found, balances)
    if question.feature is not None:
        granted = [entitlement for entitlement in granted if entitlement.code == question.feature]
        kept_back = None if granted else find_withheld(question.feature, found)
        granted += [kept_back] if kept_back else []
    return Entitlements(customer_id, tuple(granted))

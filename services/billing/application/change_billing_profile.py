"""A business says how one of its customers is billed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from libs.common.errors import Conflict
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.seller import SellerNotFound


class CustomerErased(Conflict):
    """What identified a person is gone for good: nothing new is said of him, and nothing billed by hand."""

    code = "customer_erased"
    title = "The customer was erased"


def check_not_erased(customer: CustomerDetails) -> None:
    """Raises: CustomerErased."""
    if customer.is_erased:
        raise CustomerErased("the customer was erased", remedy="Add the customer anew.")


@dataclass(frozen=True, slots=True)
class ChangeBillingProfile:
    """`fields` are all those of the profile that may be chosen, by their names."""

    customer_id: str
    fields: Mapping[str, Any]


async def change_billing_profile(
    command: ChangeBillingProfile,
    *,
    now: datetime,
    uow: UnitOfWork,
    check_version: Callable[[int], None],
) -> BillingProfile:
    """For documents that are issued from now on; those that are issued keep the profile as it was.

    Of a customer of whom nothing was said yet, the version is 0. The same again changes nothing.
    The customer is locked, so that two who say the first thing take turns.
    Raises: CustomerNotFound, CustomerErased, SellerNotFound, and what `check_version` raises.
    """
    customer = await uow.customers.find_for_update(command.customer_id)
    if customer is None:
        raise CustomerNotFound("no customer has this id")
    check_not_erased(customer)
    known = await uow.billing_profiles.find_for_update(command.customer_id)
    check_version(0 if known is None else known.version)
    seller_id = command.fields.get("seller_id")
    if seller_id is not None and await uow.sellers.find(seller_id) is None:
        raise SellerNotFound("no seller has this id", pointer="/seller_id")
    if known is None:
        made = BillingProfile(customer_id=command.customer_id, created_at=now, **command.fields)
        uow.billing_profiles.add(made)
        uow.record("billing_profile.made", made.id)
        return made
    changed = replace(known, **command.fields)
    if changed == known:
        return known
    changed = replace(changed, version=known.version + 1)
    uow.billing_profiles.save(changed)
    uow.record("billing_profile.changed", changed.id, changed.version)
    return changed

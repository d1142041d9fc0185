"""A customer: who agrees and pays. Known by id; its details are copied into whatever is agreed or billed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from libs.common.errors import Conflict, NotFound
from libs.common.money import UnknownCurrency, exponent
from libs.common.periods import UnknownZone, zone_names


class CustomerNotFound(NotFound):
    code = "customer_not_found"
    title = "There is no such customer"


class CustomerExternalIdTaken(Conflict):
    code = "customer_external_id_taken"
    title = "Another customer has this external id"


@dataclass(frozen=True, slots=True)
class Customer:
    """`external_id` is the customer's id in the tenant's own books, unique there. `zone` is the default of new
    subscriptions; `currency` is noted for whoever quotes a price, and decides nothing.

    Raises: UnknownCurrency, UnknownZone.
    """

    id: str
    name: str
    created_at: datetime
    version: int = 1
    email: str | None = None
    external_id: str | None = None
    country: str | None = None
    currency: str | None = None
    zone: str | None = None
    metadata: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.zone is not None and self.zone not in zone_names():
            raise UnknownZone(
                "not an IANA time zone", pointer="/zone", remedy="Name a zone such as Europe/Amsterdam."
            )
        if self.currency is not None:
            check_currency(self.currency)


def check_currency(currency: str) -> None:
    """Raises: UnknownCurrency, pointing at the field."""
    try:
        exponent(currency)
    except UnknownCurrency as error:
        raise UnknownCurrency(error.message, pointer="/currency", currency=currency) from None


def change_customer(customer: Customer, changes: Mapping[str, Any]) -> Customer:
    """The customer with the changed fields, one version on; the same customer when nothing differs."""
    changed = replace(customer, **changes)
    return customer if changed == customer else replace(changed, version=customer.version + 1)

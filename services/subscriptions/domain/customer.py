"""A customer: who agrees and pays. Known by id; its details are copied into whatever is agreed or billed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.locale import canonical_locale
from libs.common.money import UnknownCurrency, exponent
from libs.common.periods import UnknownZone, zone_names
from services.subscriptions.domain.postal_address import PostalAddress
from services.subscriptions.domain.vat_id import canonical_vat_id

PAYMENT_TERMS_DAYS_MAX = 365
FAMILY_LEVELS_MAX = 5
ERASED_NAME = "Erased customer"


class CustomerNotFound(NotFound):
    code = "customer_not_found"
    title = "There is no such customer"


class CustomerExternalIdTaken(Conflict):
    code = "customer_external_id_taken"
    title = "Another customer has this external id"


class CustomerErased(Conflict):
    """What identified the customer was erased for good: it changes no more, agrees to nothing, pays for nobody."""

    code = "customer_erased"
    title = "The customer was erased"


class CustomerNotErasable(Conflict):
    """Something under way still needs to know who the customer is."""

    code = "customer_not_erasable"
    title = "The customer cannot be erased yet"


class PayerInCircle(RuleViolation):
    """Whoever pays for the customer would, at the end, be paid for by it."""

    code = "payer_in_circle"
    title = "A customer would pay for itself through others"


class FamilyTooDeep(RuleViolation):
    """From whoever pays for all down to the last, there are no more than five customers in a row."""

    code = "family_too_deep"
    title = "Too many customers, each paying for the next"


@dataclass(frozen=True, slots=True)
class Customer:
    """`external_id` is the customer's id in the tenant's own books, unique there. `zone` is the default of new
    subscriptions; `currency` is noted for whoever quotes a price, and decides nothing.

    `name` is what people call it, `legal_name` what it is registered as. `country` is where it is taxed, which is its
    address's unless told otherwise. `parent_id` is who pays for it. `payment_terms_days` is how long it has to pay
    what falls due, where that is not for the seller to say.
    Units: `payment_terms_days` in days.
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
    legal_name: str | None = None
    address: PostalAddress | None = None
    vat_id: str | None = None
    locale: str | None = None
    parent_id: str | None = None
    payment_terms_days: int | None = None
    erased_at: datetime | None = None

    @property
    def is_erased(self) -> bool:
        return self.erased_at is not None

    @property
    def tax_country(self) -> str | None:
        return self.country or (self.address.country if self.address else None)


@dataclass(frozen=True, slots=True)
class InTheWay:
    """What keeps a customer from being erased: ids, of each kind the first few."""

    subscription_ids: Sequence[str] = ()
    child_ids: Sequence[str] = ()
    unpaid_invoice_ids: Sequence[str] = ()


def checked(customer: Customer, *, before: Customer | None = None) -> Customer:
    """The customer with its VAT id and locale spelled one way.

    A VAT id that was taken `before`, of the same country, is not looked at again: rules change.
    Raises: UnknownCurrency, UnknownZone, LocaleUnknown, VatIdInvalid, VatIdOfAnotherCountry, VatIdNotCheckable.
    """
    if customer.zone is not None and customer.zone not in zone_names():
        raise UnknownZone(
            "not an IANA time zone", pointer="/zone", remedy="Name a zone such as Europe/Amsterdam."
        )
    if customer.currency is not None:
        check_currency(customer.currency)
    locale, vat_id = customer.locale, customer.vat_id
    if locale is not None:
        locale = canonical_locale(locale)
    is_known = before is not None and (vat_id, customer.tax_country) == (before.vat_id, before.tax_country)
    if vat_id is not None and not is_known:
        vat_id = canonical_vat_id(vat_id, country=customer.tax_country)
    return replace(customer, locale=locale, vat_id=vat_id)


def check_currency(currency: str) -> None:
    """Raises: UnknownCurrency, pointing at the field."""
    try:
        exponent(currency)
    except UnknownCurrency as error:
        raise UnknownCurrency(error.message, pointer="/currency", currency=currency) from None


def change_customer(customer: Customer, changes: Mapping[str, Any]) -> Customer:
    """The customer with the changed fields, one version on; the same customer when nothing differs.

    Raises: CustomerErased, and what `checked` raises.
    """
    refuse_erased(customer)
    changed = checked(replace(customer, **changes), before=customer)
    return customer if changed == customer else replace(changed, version=customer.version + 1)


def refuse_erased(customer: Customer, *, pointer: str | None = None) -> None:
    """Raises: CustomerErased."""
    if customer.is_erased:
        raise CustomerErased(
            "what identified this customer was erased",
            pointer=pointer,
            remedy="Add the customer anew, under another id.",
            customer_id=customer.id,
        )


def check_parent(customer_id: str, ancestors: Sequence[Customer], *, levels_below: int) -> None:
    """Whether the first of `ancestors`, whose parent is the next one, may pay for the customer.

    `levels_below` is how many levels of customers, one below the other, it pays for itself.
    Raises: CustomerErased, PayerInCircle, FamilyTooDeep.
    """
    refuse_erased(ancestors[0], pointer="/parent_id")
    if customer_id in {ancestor.id for ancestor in ancestors}:
        raise PayerInCircle(
            "the customer pays for this one, at once or through others",
            pointer="/parent_id",
            remedy="Take the other's parent away first, or name another.",
        )
    levels = len(ancestors) + 1 + levels_below
    if levels > FAMILY_LEVELS_MAX:
        raise FamilyTooDeep(
            f"there would be {levels} customers in a row, each paying for the next",
            pointer="/parent_id",
            remedy=f"Keep to {FAMILY_LEVELS_MAX}: name a parent that stands higher up.",
            levels=levels,
            levels_max=FAMILY_LEVELS_MAX,
        )


def payer_of(ancestors: Sequence[Customer]) -> Customer | None:
    """Who pays for a customer with these ancestors, nearest first: the one for whom nobody pays. None: it pays itself."""
    return ancestors[-1] if ancestors else None


def erase_customer(customer: Customer, in_the_way: InTheWay, now: datetime) -> Customer:
    """The customer without what identifies a person; the same customer when that is gone already.

    Where it stood and how it paid is left, so that what was billed can still be explained: country, currency, zone,
    locale, payment terms, and who paid for it.
    Raises: CustomerNotErasable.
    """
    if customer.is_erased:
        return customer
    found = [
        _listed(
            "a subscription that is not over", "subscriptions that are not over", in_the_way.subscription_ids
        ),
        _listed("a customer that it pays for", "customers that it pays for", in_the_way.child_ids),
        _listed("an unpaid invoice", "unpaid invoices", in_the_way.unpaid_invoice_ids),
    ]
    if any(found):
        raise CustomerNotErasable(
            "it has " + "; ".join(told for told in found if told),
            remedy="End its subscriptions, give those it pays for another parent, settle what is unpaid; then repeat.",
            subscriptions=len(in_the_way.subscription_ids),
            children=len(in_the_way.child_ids),
            unpaid_invoices=len(in_the_way.unpaid_invoice_ids),
        )
    return replace(
        customer,
        version=customer.version + 1,
        name=ERASED_NAME,
        legal_name=None,
        email=None,
        address=None,
        country=customer.tax_country,
        vat_id=None,
        external_id=None,
        metadata={},
        erased_at=now,
    )


def _listed(one: str, many: str, ids: Sequence[str]) -> str | None:
    return f"{one if len(ids) == 1 else many} ({', '.join(ids)})" if ids else None

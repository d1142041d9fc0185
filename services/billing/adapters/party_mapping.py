"""Rows and JSON ↔ sellers, customers, and how these are billed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import RowMapping

from services.billing.adapters.contact_json import (
    delivery_from_json,
    detail_to_json,
    seller_details_from_json,
)
from services.billing.adapters.plain_fields import plain_fields
from services.billing.domain.agreement import Address, CustomerDetails
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.seller import Seller, TaxRegistration


def seller_to_row(seller: Seller) -> dict[str, Any]:
    return {
        **plain_fields(seller),
        "registrations": _registrations_to_json(seller.registrations),
        "details": detail_to_json(seller.details),
    }


def seller_from_row(row: RowMapping) -> Seller:
    plain = {name: row[name] for name in Seller.__slots__}
    return Seller(
        **{
            **plain,
            "registrations": _registrations_from_json(row["registrations"]),
            "details": seller_details_from_json(row["details"]),
        }
    )


def _registrations_to_json(registrations: Iterable[TaxRegistration]) -> list[dict[str, Any]]:
    return [
        {
            "country": known.country,
            "number": known.number,
            "valid_from": None if known.valid_from is None else known.valid_from.isoformat(),
            "scheme": known.scheme,
        }
        for known in registrations
    ]


def _registrations_from_json(stored: Iterable[Mapping[str, Any]]) -> tuple[TaxRegistration, ...]:
    return tuple(
        TaxRegistration(
            country=known["country"],
            number=known["number"],
            valid_from=date.fromisoformat(known["valid_from"]) if known.get("valid_from") else None,
            scheme=known.get("scheme", "vat"),
        )
        for known in stored
    )


def profile_to_row(profile: BillingProfile) -> dict[str, Any]:
    plain = plain_fields(profile)
    return {"id": plain.pop("customer_id"), **plain, "delivery": detail_to_json(profile.delivery)}


def profile_from_row(row: RowMapping) -> BillingProfile:
    plain = {name: row[name] for name in BillingProfile.__slots__ if name != "customer_id"}
    return BillingProfile(
        **{**plain, "customer_id": row["id"], "delivery": delivery_from_json(row["delivery"])}
    )


def profile_to_json(profile: BillingProfile | None) -> dict[str, Any] | None:
    """What was not there yet when older documents were issued is left out where it was not said."""
    if profile is None:
        return None
    stored = {**plain_fields(profile), "created_at": profile.created_at.isoformat()}
    delivery = stored.pop("delivery")
    if stored["pays_by"] == "gateway":
        del stored["pays_by"]
    return stored if delivery is None else {**stored, "delivery": detail_to_json(delivery)}


def profile_from_json(stored: Mapping[str, Any] | None) -> BillingProfile | None:
    if stored is None:
        return None
    return BillingProfile(
        **{
            **stored,
            "created_at": datetime.fromisoformat(stored["created_at"]),
            "delivery": delivery_from_json(stored.get("delivery")),
        }
    )


_ALWAYS_WRITTEN = frozenset({"id", "version", "name", "email", "external_id", "country"})


def customer_to_json(customer: CustomerDetails) -> dict[str, Any]:
    """What was always written, and of the rest what is known: an issued invoice is written as it was found."""
    return {
        name: value
        for name, value in plain_fields(customer).items()
        if name in _ALWAYS_WRITTEN or (value is not None and value is not False)
    }


def customer_from_json(stored: Mapping[str, Any]) -> CustomerDetails:
    """Also one that was kept before all of it was."""
    known = {"email": None, "external_id": None, "country": None, **stored}
    address = known.get("address")
    return CustomerDetails(**{**known, "address": Address(**address) if address else None})


def customer_to_row(customer: CustomerDetails) -> dict[str, Any]:
    return plain_fields(customer)


def customer_from_row(row: RowMapping) -> CustomerDetails:
    return customer_from_json({name: row[name] for name in CustomerDetails.__slots__})


# Fields that sellers have not always had. `registrations` is written as a list, where there are any.
_SELLER_UNLESS_SAID = {
    field.name: field.default
    for field in fields(Seller)
    if field.default is not MISSING and field.name not in ("address", "tax_number")
}


def seller_to_json(seller: Seller | None) -> dict[str, Any] | None:
    """What was always written, and of the rest what was said: an issued invoice is written as it was found."""
    if seller is None:
        return None
    unless = _SELLER_UNLESS_SAID
    stored = {
        name: value
        for name, value in plain_fields(seller).items()
        if name not in unless or value != unless[name]
    }
    if seller.registrations:
        stored["registrations"] = _registrations_to_json(seller.registrations)
    if seller.details is not None:
        stored["details"] = detail_to_json(seller.details)
    return {**stored, "created_at": seller.created_at.isoformat()}


def seller_from_json(snapshot: dict[str, Any] | None) -> Seller | None:
    if snapshot is None:
        return None
    return Seller(
        **{
            **snapshot,
            "created_at": datetime.fromisoformat(snapshot["created_at"]),
            "registrations": _registrations_from_json(snapshot.get("registrations", ())),
            "details": seller_details_from_json(snapshot.get("details")),
        }
    )

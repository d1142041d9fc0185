"""Contact details as JSON: what was said of them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.billing.domain.agreement import Address
from services.billing.domain.contact_details import (
    BankAccount,
    DocumentDelivery,
    ElectronicAddress,
    SellerDetails,
)

Detail = SellerDetails | DocumentDelivery | BankAccount | ElectronicAddress | Address


def detail_to_json(detail: Detail | None) -> dict[str, Any] | None:
    if detail is None:
        return None
    said = {name: getattr(detail, name) for name in detail.__slots__}
    return {
        name: _to_json(value)
        for name, value in said.items()
        if value is not None and (value != () or name == "mails")  # no kind of mail is less than all kinds
    }


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, str) else detail_to_json(value)


def seller_details_from_json(stored: Mapping[str, Any] | None) -> SellerDetails | None:
    if stored is None:
        return None
    mails = stored.get("mails")
    return SellerDetails(**{**stored, **_parts(stored), "mails": None if mails is None else tuple(mails)})


def delivery_from_json(stored: Mapping[str, Any] | None) -> DocumentDelivery | None:
    if stored is None:
        return None
    return DocumentDelivery(**{**stored, **_parts(stored), "mail_to": tuple(stored.get("mail_to", ()))})


def _parts(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind(**stored[name]) for name, kind in _PARTS.items() if stored.get(name) is not None}


_PARTS: Mapping[str, type[Detail]] = {
    "postal_address": Address,
    "electronic_address": ElectronicAddress,
    "bank": BankAccount,
}

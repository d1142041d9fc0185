"""How a seller is reached and paid, and where a customer's documents go: it stands on documents as they found it."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing.domain.agreement import Address


@dataclass(frozen=True, slots=True)
class ElectronicAddress:
    """Where electronic invoices are sent. `scheme` is a code of the EAS list, such as 0106, 9944 or EM.

    Source: EN 16931 BT-34 and BT-49.
    """

    scheme: str
    value: str


@dataclass(frozen=True, slots=True)
class BankAccount:
    """Where transfers go. `holder` of None is the seller's name."""

    iban: str
    bic: str | None = None
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class SellerDetails:
    """What documents say of a seller besides name and tax number.

    `legal_id` is his number in the register of companies. Without a `mail_from` no mail is sent for him. `language`
    (BCP 47) is that of documents and mails for customers without a locale. `colour` is that of documents: `#rrggbb`.
    """

    postal_address: Address | None = None
    legal_id: str | None = None
    contact_name: str | None = None
    email: str | None = None
    phone: str | None = None
    electronic_address: ElectronicAddress | None = None
    bank: BankAccount | None = None
    mail_from: str | None = None
    language: str | None = None
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentDelivery:
    """Where the documents of a customer go, besides the address of the customer. `mail_to` of none is his own mail."""

    electronic_address: ElectronicAddress | None = None
    mail_to: tuple[str, ...] = ()
    language: str | None = None

"""How a seller is reached and paid, and where a customer's documents go: it stands on documents as they found it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.billing.domain.agreement import Address
from services.billing.domain.mail import MailKind

EInvoiceFormat = Literal["ubl", "cii", "factur-x"]


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
    (BCP 47) is that of documents and mails for customers without a locale. `colour` is that of documents: `#rrggbb`;
    `logo` is the id of the picture at their head. `mails` are the kinds that are sent; None is all of them. `payment_url`
    is where a customer pays or changes how he pays: `{invoice_id}`, `{number}` and `{customer_id}` in it are filled in.
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
    logo: str | None = None
    mails: tuple[MailKind, ...] | None = None
    payment_url: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentDelivery:
    """Where the documents of a customer go, besides the address of the customer. `mail_to` of none is his own mail.

    `e_invoice` is how he wants them as e-invoices; None is not at all.
    """

    electronic_address: ElectronicAddress | None = None
    mail_to: tuple[str, ...] = ()
    language: str | None = None
    e_invoice: EInvoiceFormat | None = None

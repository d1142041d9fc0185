"""Bodies of contact details: how a seller is reached and paid, and where a customer's documents go."""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints
from stdnum import bic as bics
from stdnum import iban as ibans
from stdnum.exceptions import ValidationError

from libs.common.web.bodies import Name, StrictBody
from libs.common.web.contact_bodies import AddressParts, Email, Locale
from services.billing.domain.agreement import Address
from services.billing.domain.contact_details import (
    BankAccount,
    DocumentDelivery,
    EInvoiceFormat,
    ElectronicAddress,
    SellerDetails,
)
from services.billing.domain.mail import MAIL_KINDS, MailKind


def _iban(value: str) -> str:
    try:
        return str(ibans.validate(value))
    except ValidationError:
        raise ValueError("must be an IBAN: its check digits or its length are wrong") from None


def _bic(value: str) -> str:
    try:
        return str(bics.validate(value))
    except ValidationError:
        raise ValueError("must be a BIC of 8 or 11 characters, such as INGBNL2A") from None


Iban = Annotated[str, Field(max_length=42, examples=["NL91ABNA0417164300"]), AfterValidator(_iban)]
Bic = Annotated[str, Field(max_length=14, examples=["ABNANL2A"]), AfterValidator(_bic)]


def _payment_url(value: str) -> str:
    bare = value
    for name in ("{invoice_id}", "{number}", "{customer_id}"):
        bare = bare.replace(name, "x")
    parts = urlsplit(bare) if not _NOT_IN_URL.search(bare) else None
    if parts is None or parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ValueError(
            "must be an address that begins with https://, in which {invoice_id}, {number} and {customer_id} may stand"
        )
    return value


_NOT_IN_URL = re.compile(r"[^!#-;=?-\[\]_a-z~]")
PaymentUrl = Annotated[
    str,
    Field(max_length=500, examples=["https://shop.example/pay?invoice={invoice_id}"]),
    AfterValidator(_payment_url),
]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$", max_length=7, examples=["#0a7f5a"])]
Identifier = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class AddressBody(AddressParts):
    @classmethod
    def from_domain(cls, address: Address) -> Self:
        return cls(**{name: getattr(address, name) for name in cls.model_fields})

    def to_domain(self) -> Address:
        return Address(**{name: getattr(self, name) for name in type(self).model_fields})


class ElectronicAddressBody(StrictBody):
    """Where electronic invoices go: `scheme` is a code of the list EAS, such as 0106 (the Dutch register), 0208 (the
    Belgian one), 9930 (German VAT ids) or EM (a mail address)."""

    scheme: Annotated[str, Field(pattern=r"^(?:[0-9]{4}|EM|AN|AQ|AS|AU)$", max_length=4, examples=["0106"])]
    value: Identifier

    @classmethod
    def from_domain(cls, address: ElectronicAddress) -> Self:
        return cls(scheme=address.scheme, value=address.value)

    def to_domain(self) -> ElectronicAddress:
        return ElectronicAddress(self.scheme, self.value)


class BankAccountBody(StrictBody):
    """The account for transfers. Without a `holder` it is in the seller's name."""

    iban: Iban
    bic: Bic | None = None
    holder: Annotated[Name, Field(max_length=70)] | None = None

    @classmethod
    def from_domain(cls, account: BankAccount) -> Self:
        return cls(iban=account.iban, bic=account.bic, holder=account.holder)

    def to_domain(self) -> BankAccount:
        return BankAccount(self.iban, self.bic, self.holder)


class SellerDetailsBody(StrictBody):
    """What documents say of the seller besides name and tax number.

    Without a `mail_from` no mail is sent for the seller. `language` is that of documents and mails for customers without
    a locale; `colour` that of the documents. `mails` are the kinds of mail that are sent: all of them if it is null.
    `payment_url` is where a customer can pay or change how he pays; mails link to it.
    """

    postal_address: AddressBody | None = None
    legal_id: Identifier | None = None
    contact_name: Name | None = None
    email: Email | None = None
    phone: Identifier | None = None
    electronic_address: ElectronicAddressBody | None = None
    bank: BankAccountBody | None = None
    mail_from: Email | None = None
    language: Locale | None = None
    colour: Colour | None = None
    mails: Annotated[list[MailKind], Field(max_length=len(MAIL_KINDS))] | None = None
    payment_url: PaymentUrl | None = None

    @classmethod
    def from_domain(cls, details: SellerDetails) -> Self:
        plain = {name: getattr(details, name) for name in cls.model_fields if name not in _PARTS}
        address, electronic, bank = details.postal_address, details.electronic_address, details.bank
        return cls(
            **plain,
            mails=None if details.mails is None else list(details.mails),
            postal_address=None if address is None else AddressBody.from_domain(address),
            electronic_address=None if electronic is None else ElectronicAddressBody.from_domain(electronic),
            bank=None if bank is None else BankAccountBody.from_domain(bank),
        )

    def to_domain(self) -> SellerDetails:
        plain = {name: getattr(self, name) for name in type(self).model_fields if name not in _PARTS}
        return SellerDetails(
            **plain,
            mails=None if self.mails is None else tuple(dict.fromkeys(self.mails)),
            postal_address=None if self.postal_address is None else self.postal_address.to_domain(),
            electronic_address=None
            if self.electronic_address is None
            else self.electronic_address.to_domain(),
            bank=None if self.bank is None else self.bank.to_domain(),
        )


_PARTS = frozenset({"postal_address", "electronic_address", "bank", "mails"})


class DocumentDeliveryBody(StrictBody):
    """Where a customer's documents go. Without `mail_to` they go to the customer's own mail address.

    With `e_invoice`, mails carry invoices and credit notes as such an e-invoice too, where they can be one.
    """

    electronic_address: ElectronicAddressBody | None = None
    mail_to: Annotated[list[Email], Field(max_length=10)] = Field(default_factory=list)
    language: Locale | None = None
    e_invoice: EInvoiceFormat | None = None

    @classmethod
    def from_domain(cls, delivery: DocumentDelivery) -> Self:
        electronic = delivery.electronic_address
        return cls(
            electronic_address=None if electronic is None else ElectronicAddressBody.from_domain(electronic),
            mail_to=list(delivery.mail_to),
            language=delivery.language,
            e_invoice=delivery.e_invoice,
        )

    def to_domain(self) -> DocumentDelivery:
        electronic = self.electronic_address
        return DocumentDelivery(
            electronic_address=None if electronic is None else electronic.to_domain(),
            mail_to=tuple(dict.fromkeys(self.mail_to)),
            language=self.language,
            e_invoice=self.e_invoice,
        )

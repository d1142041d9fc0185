"""Sellers, customers and documents of which mails tell, in tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from libs.common.money import Money
from services.billing.domain.agreement import Address, CustomerDetails
from services.billing.domain.contact_details import BankAccount, SellerDetails
from services.billing.domain.issued_document import IssuedDocument
from services.billing.domain.mail import Mail, MailKind
from services.billing.domain.mail_contents import MailMaterial
from services.billing.domain.seller import Seller

NOW = datetime(2026, 4, 1, 12, 30, tzinfo=UTC)
MAIL_ID = "mail_01jz3v6m1qk0c8n4r2d5s7t9wx"
DETAILS = SellerDetails(
    postal_address=Address(line1="Keizersgracht 1", postal_code="1015 CJ", city="Amsterdam", country="NL"),
    legal_id="KvK 12345678",
    email="billing@lumen.example",
    phone="+31 20 555 0100",
    bank=BankAccount("NL91ABNA0417164300", "ABNANL2A"),
    mail_from="billing@lumen.example",
    language="nl",
    colour="#0a7f5a",
    payment_url="https://lumen.example/pay?i={invoice_id}&n={number}",
)
SELLER = Seller(
    id="sel_1",
    code="main",
    name="Lumen B.V.",
    country="NL",
    number_prefix="INV-",
    payment_terms_days=14,
    is_default=True,
    version=1,
    created_at=NOW,
    tax_number="NL123456782B90",
    details=DETAILS,
)
CUSTOMER = CustomerDetails("cus_1", 1, "Delta Air Lines", "ap@delta.example", None, "US", locale="en-US")
INVOICE_ID = "inv_01jz3v6m1qk0c8n4r2d5s7t9wx"


def a_document(**changes: Any) -> IssuedDocument:
    """An issued invoice of 2,029.06, nothing of it paid."""
    zero, total = Money.zero("EUR"), Money(202_906, "EUR")
    plain = IssuedDocument(
        id=INVOICE_ID,
        kind="invoice",
        document_kind="invoice",
        status="finalized",
        number="INV-000042",
        issued_on=date(2026, 4, 1),
        due_on=date(2026, 4, 15),
        currency="EUR",
        zone="Europe/Amsterdam",
        seller=SELLER,
        buyer=CUSTOMER,
        lines=(),
        taxes=(),
        subtotal=total,
        prepaid=zero,
        discount=zero,
        net=total,
        tax=zero,
        total=total,
        credits_applied=zero,
        balance_applied=zero,
        paid=zero,
        credited=zero,
        to_invoice=zero,
        to_balance=zero,
        to_refund=zero,
        bank=DETAILS.bank,
    )
    return replace(plain, **changes)


def a_mail(kind: MailKind = "invoice", **changes: Any) -> Mail:
    plain = Mail(
        id=MAIL_ID,
        kind=kind,
        customer_id=CUSTOMER.id,
        seller_id=SELLER.id,
        recipient="ap@delta.example",
        occurred_at=NOW,
        invoice_id=INVOICE_ID,
    )
    return replace(plain, **changes)


def material(kind: MailKind = "invoice", **changes: Any) -> MailMaterial:
    plain = MailMaterial(a_mail(kind), SELLER, CUSTOMER, document=a_document(), zone="Europe/Amsterdam")
    return replace(plain, **changes)

"""Issued documents for tests, settled as the engine settles them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from libs.common.money import Money, exponent, round_half_away
from services.billing.domain.agreement import Address, CustomerDetails
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.contact_details import (
    BankAccount,
    DocumentDelivery,
    ElectronicAddress,
    SellerDetails,
)
from services.billing.domain.credit_note import (
    CreditNote,
    WantedCredit,
    credited,
    make_credit_note,
    usual_split,
)
from services.billing.domain.credit_note import Settled as SettledInvoice
from services.billing.domain.credited_amounts import billed
from services.billing.domain.discount import Coupon
from services.billing.domain.invoice import (
    DocumentKind,
    Finalized,
    Invoice,
    Means,
    decide_finalization,
    open_document,
)
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.issued_document import (
    DocumentFacts,
    IssuedDocument,
    LineFacts,
    PrecedingDocument,
    document_of_credit_note,
    document_of_invoice,
)
from services.billing.domain.seller import Seller
from services.billing.domain.settlement import SettlementInputs, settle_lines
from services.billing.domain.tax_treatment import TaxTreatment

S21 = TaxTreatment("S", Decimal(21))
S9 = TaxTreatment("S", Decimal(9))
ZERO_RATED = TaxTreatment("Z")
EXEMPT = TaxTreatment("E", reason_code="VATEX-EU-132", reason="Exempt by Article 132")
REVERSE_CHARGE = TaxTreatment("AE", reason_code="VATEX-EU-AE", reason="Reverse charge")
WITHIN_UNION = TaxTreatment("K", reason_code="VATEX-EU-IC", reason="Intra-Community supply")
EXPORT = TaxTreatment("G", reason_code="VATEX-EU-G", reason="Export outside the EU")
OUTSIDE_SCOPE = TaxTreatment("O", reason_code="VATEX-EU-O", reason="Not subject to VAT")

ISSUED_AT = datetime(2026, 4, 1, 8, tzinfo=UTC)
APRIL = (date(2026, 4, 1), date(2026, 5, 1))
MARCH = (date(2026, 3, 1), date(2026, 4, 1))

SELLER = Seller(
    id="sel_1",
    code="main",
    name="Licht als Dienst B.V.",
    country="NL",
    number_prefix="INV-",
    payment_terms_days=14,
    is_default=True,
    version=1,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    tax_number="NL123456789B01",
    footer="Registered in Amsterdam",
    details=SellerDetails(
        postal_address=Address("Keizersgracht 1", None, "1015 CN", "Amsterdam", None, "NL"),
        legal_id="12345678",
        contact_name="Invoices",
        email="invoices@licht.example",
        phone="+31 20 123 4567",
        electronic_address=ElectronicAddress("0106", "12345678"),
        bank=BankAccount("NL91ABNA0417164300", "ABNANL2A"),
    ),
)
BUYER = CustomerDetails(
    id="cus_1",
    version=1,
    name="Warenhaus",
    email="ap@warenhaus.example",
    external_id=None,
    country="DE",
    legal_name="Warenhaus GmbH",
    vat_id="DE136695976",
    address=Address("Hauptstraße 5", "Haus 2", "10115", "Berlin", None, "DE"),
)
PROFILE = BillingProfile(
    customer_id="cus_1",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    purchase_order="PO-7788",
    buyer_reference="Dept 12",
    delivery=DocumentDelivery(electronic_address=ElectronicAddress("9930", "DE136695976")),
)


class Row(NamedTuple):
    """A line before it is settled. `amount` of None is quantity x price, rounded once."""

    description: str
    quantity: str
    price: str
    by: TaxTreatment = S21
    period: tuple[date, date] = APRIL
    amount: str | None = None
    behavior: Literal["exclusive", "inclusive"] = "exclusive"
    unit: str | None = None
    prepaid: str = "0"
    corrects: PrecedingDocument | None = None


def a_document(
    *rows: Row,
    currency: str = "EUR",
    kind: DocumentKind = "invoice",
    seller: Seller = SELLER,
    buyer: CustomerDetails = BUYER,
    profile: BillingProfile | None = PROFILE,
    coupons: Sequence[Coupon] = (),
    credits: str = "0",
    balance: str = "0",
    number: str = "INV-000042",
    **said: Any,
) -> IssuedDocument:
    invoice, lines = an_invoice(
        *rows,
        currency=currency,
        kind=kind,
        seller=seller,
        buyer=buyer,
        profile=profile,
        coupons=coupons,
        credits=credits,
        balance=balance,
        number=number,
        **said,
    )
    return document_of_invoice(invoice, lines, DocumentFacts(lines=_facts(lines, rows)))


def an_invoice(
    *rows: Row,
    currency: str = "EUR",
    kind: DocumentKind = "invoice",
    seller: Seller = SELLER,
    buyer: CustomerDetails = BUYER,
    profile: BillingProfile | None = PROFILE,
    coupons: Sequence[Coupon] = (),
    credits: str = "0",
    balance: str = "0",
    number: str = "INV-000042",
    **said: Any,
) -> tuple[Invoice, tuple[InvoiceLine, ...]]:
    draft = open_document(
        "sub_1",
        buyer,
        subscription_id="sub_1",
        boundary_at=ISSUED_AT,
        currency=currency,
        zone="Europe/Amsterdam",
        clock_id=None,
        traceparent=None,
        now=ISSUED_AT,
        document_kind=kind,
    )
    draft = replace(draft, **said)
    lines = [_line(draft, row, ordinal, currency) for ordinal, row in enumerate(rows, start=1)]
    inputs = SettlementInputs(
        prepaid={
            line.id: _money(row.prepaid, currency)
            for line, row in zip(lines, rows, strict=True)
            if row.prepaid != "0"
        },
        coupons=tuple(coupons),
        treatments={line.id: row.by for line, row in zip(lines, rows, strict=True)},
        tax_rounding=seller.tax_rounding,
    )
    settled = settle_lines(lines, inputs, currency)
    means = Means(_money(credits, currency), _money(balance, currency))
    outcome = decide_finalization(
        draft, settled, owes=True, seller=seller, profile=profile, means=means, now=ISSUED_AT
    )
    assert isinstance(outcome, Finalized)
    return replace(outcome.invoice, number=number), outcome.lines


def a_credit_note(
    invoice: Invoice,
    lines: Sequence[InvoiceLine],
    wanted: WantedCredit | None = None,
    *,
    number: str = "CN-000007",
) -> IssuedDocument:
    note, told = a_note(invoice, lines, wanted, number=number)
    return document_of_credit_note(note, told, DocumentFacts())


def a_note(
    invoice: Invoice,
    lines: Sequence[InvoiceLine],
    wanted: WantedCredit | None = None,
    *,
    number: str = "CN-000007",
) -> tuple[CreditNote, Invoice]:
    found = credited(billed(lines, invoice.taxes, invoice.currency), (), wanted or WantedCredit())
    zero = Money.zero(invoice.currency)
    state = SettledInvoice(invoice.due, invoice.paid, invoice.total - invoice.due, zero, zero)
    split = usual_split(found.total, state, rest_to="balance")
    note = make_credit_note(
        invoice,
        {line.id: line for line in lines},
        found,
        split,
        id="crn_1",
        reason="Agreed on by phone",
        now=ISSUED_AT + timedelta(days=9),
        traceparent=None,
    )
    return replace(note, number=number), invoice


def _facts(lines: Sequence[InvoiceLine], rows: Sequence[Row]) -> Mapping[str, LineFacts]:
    return {
        line.id: LineFacts(unit=row.unit, corrects=row.corrects)
        for line, row in zip(lines, rows, strict=True)
    }


def _line(draft: Invoice, row: Row, ordinal: int, currency: str) -> InvoiceLine:
    quantity, price = Decimal(row.quantity), Decimal(row.price)
    minor = round_half_away(quantity * price, exponent(currency))
    amount = Money(minor, currency) if row.amount is None else _money(row.amount, currency)
    zero = Money.zero(currency)
    return InvoiceLine(
        id=f"lin_{ordinal}",
        invoice_id=draft.id,
        charge_id=f"chg_{ordinal}",
        ordinal=ordinal,
        tier=None,
        description=row.description,
        quantity=quantity,
        unit_amount=price,
        amount=amount,
        prepaid=zero,
        discount=zero,
        net=amount,
        formula="",
        service_start_on=row.period[0],
        service_end_on=row.period[1],
        tax_behavior=row.behavior,
    )


def _money(amount: str, currency: str) -> Money:
    return Money.from_decimal(Decimal(amount), currency)

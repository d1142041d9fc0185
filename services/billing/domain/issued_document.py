"""An invoice, credit note or compensation note as PDFs, e-invoices, statements and mails tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from libs.common.money import Money, total
from libs.common.periods import local_date
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.charge import ChargeKind
from services.billing.domain.contact_details import (
    BankAccount,
    DocumentDelivery,
    ElectronicAddress,
    SellerDetails,
)
from services.billing.domain.credit_note import CreditNote
from services.billing.domain.invoice import AppliedDiscount, DocumentKind, Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.remittance import creditor_reference
from services.billing.domain.seller import Seller
from services.billing.domain.settlement import InvoiceTax
from services.billing.domain.tax_treatment import TaxCategory

IssuedKind = Literal["invoice", "credit_note", "compensation_note", "deposit_request"]
IssuedStatus = Literal["draft", "finalized", "paid", "void", "uncollectible", "skipped", "gathered"]

ONE_DAY = timedelta(days=1)
USUAL_LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class PrecedingDocument:
    """A document that is put right, replaced or credited. Source: EN 16931 BT-25, BT-26."""

    id: str
    number: str
    issued_on: date


@dataclass(frozen=True, slots=True)
class LineFacts:
    """What the charge behind a line says. `unit` is the price's word for what is counted, `meter` what counts it.

    `plan` is the name of the plan that it was charged by, as its version has it.
    """

    kind: ChargeKind | None = None
    unit: str | None = None
    meter: str | None = None
    event_count: int | None = None
    is_estimated: bool = False
    corrects: PrecedingDocument | None = None
    plan: str | None = None


NO_FACTS = LineFacts()


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """A line as the document tells it.

    `quantity` x `unit_amount` is about `amount` (the quantity is rounded to 6 decimals, flat amounts of tiers are not in
    the price). `amount` is as priced and holds the tax where the price does; less `prepaid` and `discount`, and without
    tax, it is `net`. `tax` is told only where the seller rounds each line's. `service_end_on` is not in the period.
    """

    id: str
    ordinal: int
    description: str
    quantity: Decimal
    unit_amount: Decimal
    amount: Money
    prepaid: Money
    discount: Money
    net: Money
    tax_behavior: Literal["exclusive", "inclusive"]
    tax_category: TaxCategory
    tax_percent: Decimal
    service_start_on: date
    service_end_on: date
    tax_reason_code: str | None = None
    tax_reason: str | None = None
    tax: Money | None = None
    tier: int | None = None
    formula: str | None = None
    subscription_id: str | None = None
    item_id: str | None = None
    product_id: str | None = None
    facts: LineFacts = NO_FACTS

    @property
    def last_on(self) -> date:
        """The last day of the service period."""
        return max(self.service_end_on - ONE_DAY, self.service_start_on)

    @property
    def paid(self) -> Money:
        """What the line comes to after what is taken off, in the terms of its price."""
        return self.amount - self.prepaid - self.discount


@dataclass(frozen=True, slots=True)
class IssuedDocument:
    """Amounts of credit notes are positive: what is given back. `number` and `issued_on` of None are a draft's.

    `subtotal` - `prepaid` - `discount` are the lines as priced; `net` + `tax` = `total`. `credits_applied` and
    `balance_applied` paid of an invoice when it was issued (`balance_applied` is negative where a document below zero
    gave to the balance), `paid` with money since, `credited` credit notes. `to_invoice`, `to_balance` and `to_refund`
    say where the total of a credit note went. `seller`, `buyer` and `profile` are as the document found them; the
    electronic addresses and the bank account are the present ones where the document has none.
    """

    id: str
    kind: IssuedKind
    document_kind: DocumentKind | None
    status: IssuedStatus
    number: str | None
    issued_on: date | None
    due_on: date | None
    currency: str
    zone: str
    seller: Seller
    buyer: CustomerDetails
    lines: tuple[DocumentLine, ...]
    taxes: tuple[InvoiceTax, ...]
    subtotal: Money
    prepaid: Money
    discount: Money
    net: Money
    tax: Money
    total: Money
    credits_applied: Money
    balance_applied: Money
    paid: Money
    credited: Money
    to_invoice: Money
    to_balance: Money
    to_refund: Money
    profile: BillingProfile | None = None
    delivery: DocumentDelivery | None = None
    discounts: tuple[AppliedDiscount, ...] = ()
    purchase_order: str | None = None
    buyer_reference: str | None = None
    preceding: tuple[PrecedingDocument, ...] = ()
    subscription_ids: tuple[str, ...] = ()
    reason: str | None = None
    notes: str | None = None
    bank: BankAccount | None = None
    seller_address: ElectronicAddress | None = None
    buyer_address: ElectronicAddress | None = None
    clock_id: str | None = None

    @property
    def is_credit_note(self) -> bool:
        return self.kind == "credit_note"

    @property
    def is_void(self) -> bool:
        return self.status == "void"

    @property
    def due(self) -> Money:
        """What is still to be paid with money; nothing of a credit note."""
        if self.is_credit_note:
            return Money.zero(self.currency)
        return self.total - self.credits_applied - self.balance_applied - self.paid - self.credited

    @property
    def payment_reference(self) -> str | None:
        """What a transfer names so that it is matched: the creditor reference of its number (ISO 11649)."""
        return None if self.number is None else creditor_reference(self.number, self.id)

    @property
    def service_start_on(self) -> date | None:
        return min((line.service_start_on for line in self.lines), default=None)

    @property
    def service_last_on(self) -> date | None:
        """The last day of all service periods."""
        return max((line.last_on for line in self.lines), default=None)

    @property
    def details(self) -> SellerDetails:
        return self.seller.details or SellerDetails()

    @property
    def footer(self) -> str | None:
        return self.seller.footer

    @property
    def language(self) -> str:
        """That of the customer's documents, or of the customer, or of the seller's documents (BCP 47)."""
        said = None if self.delivery is None else self.delivery.language
        return said or self.buyer.locale or self.details.language or USUAL_LANGUAGE


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    """What stands elsewhere: by line the facts of its charge, what precedes it, and how the parties are reached now."""

    lines: Mapping[str, LineFacts] = field(default_factory=dict)
    preceding: tuple[PrecedingDocument, ...] = ()
    seller_details: SellerDetails | None = None
    delivery: DocumentDelivery | None = None


def as_issued(document: IssuedDocument) -> IssuedDocument:
    """The document as it went out: without what was paid or credited since."""
    zero = Money.zero(document.currency)
    return replace(document, status="finalized", paid=zero, credited=zero)


def document_of_invoice(
    invoice: Invoice, lines: Sequence[InvoiceLine], facts: DocumentFacts, *, seller: Seller | None = None
) -> IssuedDocument:
    """An invoice with its lines; of a draft, `seller` is who would issue it."""
    issuer = invoice.seller or seller
    assert issuer is not None, "a document is somebody's"
    zero = Money.zero(invoice.currency)
    delivery = _delivery(invoice.profile, facts)
    return IssuedDocument(
        id=invoice.id,
        kind=_kind(invoice.document_kind),
        document_kind=invoice.document_kind,
        status=invoice.status,
        number=invoice.number,
        issued_on=None if invoice.issued_at is None else local_date(invoice.issued_at, invoice.zone),
        due_on=invoice.due_on,
        currency=invoice.currency,
        zone=invoice.zone,
        seller=issuer,
        buyer=invoice.customer,
        profile=invoice.profile,
        delivery=delivery,
        lines=tuple(_line(line, facts.lines.get(line.id, NO_FACTS)) for line in lines),
        taxes=invoice.taxes or _untold_taxes(lines, invoice.currency),
        subtotal=invoice.subtotal,
        prepaid=invoice.prepaid,
        discount=invoice.discount,
        net=invoice.net,
        tax=invoice.tax,
        total=invoice.total,
        credits_applied=invoice.credits_applied,
        balance_applied=invoice.balance_applied,
        paid=invoice.paid,
        credited=invoice.credited,
        to_invoice=zero,
        to_balance=zero,
        to_refund=zero,
        discounts=invoice.discounts,
        purchase_order=invoice.purchase_order,
        buyer_reference=invoice.buyer_reference,
        preceding=_all_preceding(facts, [line.id for line in lines]),
        subscription_ids=invoice.about,
        notes=invoice.notes,
        bank=_bank(issuer, facts),
        seller_address=_seller_address(issuer, facts),
        buyer_address=_buyer_address(invoice.profile, facts),
        clock_id=invoice.clock_id,
    )


def document_of_credit_note(note: CreditNote, invoice: Invoice, facts: DocumentFacts) -> IssuedDocument:
    """A credit note, and what the invoice says that it credits."""
    zero = Money.zero(note.currency)
    lines = tuple(
        DocumentLine(
            id=line.id,
            ordinal=line.ordinal,
            description=line.description,
            quantity=line.quantity,
            unit_amount=line.unit_amount,
            amount=line.paid,
            prepaid=zero,
            discount=zero,
            net=line.net,
            tax_behavior=line.tax_behavior,
            tax_category=line.tax_category,  # type: ignore[arg-type]  # as the invoice's line had it
            tax_percent=line.tax_percent,
            tax_reason_code=line.tax_reason_code,
            tax_reason=line.tax_reason,
            service_start_on=line.service_start_on,
            service_end_on=line.service_end_on,
            facts=facts.lines.get(line.invoice_line_id, NO_FACTS),
        )
        for line in note.lines
    )
    return IssuedDocument(
        id=note.id,
        kind="credit_note",
        document_kind=None,
        status="finalized",
        number=note.number,
        issued_on=note.issued_on,
        due_on=None,
        currency=note.currency,
        zone=note.zone,
        seller=note.seller,
        buyer=note.customer,
        profile=invoice.profile,
        delivery=_delivery(invoice.profile, facts),
        lines=lines,
        taxes=_credited_taxes(note),
        subtotal=total((line.amount for line in lines), note.currency),
        prepaid=zero,
        discount=zero,
        net=note.net,
        tax=note.tax,
        total=note.total,
        credits_applied=zero,
        balance_applied=zero,
        paid=zero,
        credited=zero,
        to_invoice=note.to_invoice,
        to_balance=note.to_balance,
        to_refund=note.to_refund,
        purchase_order=invoice.purchase_order,
        buyer_reference=invoice.buyer_reference,
        preceding=(_credited_invoice(note, invoice),),
        subscription_ids=invoice.about,
        reason=note.reason,
        bank=_bank(note.seller, facts),
        seller_address=_seller_address(note.seller, facts),
        buyer_address=_buyer_address(invoice.profile, facts),
        clock_id=note.clock_id,
    )


def _kind(document_kind: DocumentKind) -> IssuedKind:
    if document_kind == "compensation":
        return "compensation_note"
    return "deposit_request" if document_kind == "deposit" else "invoice"


def _line(line: InvoiceLine, facts: LineFacts) -> DocumentLine:
    return DocumentLine(
        id=line.id,
        ordinal=line.ordinal,
        description=line.description,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        amount=line.amount,
        prepaid=line.prepaid,
        discount=line.discount,
        net=line.net,
        tax_behavior=line.tax_behavior,
        tax_category=line.tax_category,
        tax_percent=line.tax_percent,
        tax_reason_code=line.tax_reason_code,
        tax_reason=line.tax_reason,
        tax=line.tax,
        tier=line.tier,
        formula=line.formula,
        service_start_on=line.service_start_on,
        service_end_on=line.service_end_on,
        subscription_id=line.subscription_id,
        item_id=line.item_id,
        product_id=line.product_id,
        facts=facts,
    )


def _credited_invoice(note: CreditNote, invoice: Invoice) -> PrecedingDocument:
    assert invoice.issued_at is not None, "what is credited was issued"
    return PrecedingDocument(invoice.id, note.invoice_number, local_date(invoice.issued_at, invoice.zone))


def _all_preceding(facts: DocumentFacts, line_ids: Iterable[str]) -> tuple[PrecedingDocument, ...]:
    """What the document as a whole follows, then what its lines put right; each once."""
    corrected = [facts.lines[id].corrects for id in line_ids if id in facts.lines]
    found = [*facts.preceding, *(one for one in corrected if one is not None)]
    return tuple({one.id: one for one in found}.values())


def _untold_taxes(lines: Sequence[InvoiceLine], currency: str) -> tuple[InvoiceTax, ...]:
    """Of invoices that were issued before taxes were told: their lines bear none."""
    groups: dict[tuple[TaxCategory, Decimal], list[InvoiceLine]] = {}
    for line in lines:
        groups.setdefault((line.tax_category, line.tax_percent), []).append(line)
    zero = Money.zero(currency)
    return tuple(
        InvoiceTax(category, percent, total((line.net for line in group), currency), zero)
        for (category, percent), group in sorted(groups.items())
    )


def _credited_taxes(note: CreditNote) -> tuple[InvoiceTax, ...]:
    """By category and rate, whatever was taxed together on the invoice; with the reasons that its lines give."""
    zero = Money.zero(note.currency)
    nets: dict[tuple[str, Decimal], Money] = {}
    taxes: dict[tuple[str, Decimal], Money] = {}
    for part in note.taxes:
        key = (part.category, part.percent)
        nets[key] = nets.get(key, zero) + part.net
        taxes[key] = taxes.get(key, zero) + part.tax
    return tuple(_credited_tax(note, key, nets[key], taxes[key]) for key in sorted(nets))


def _credited_tax(note: CreditNote, key: tuple[str, Decimal], net: Money, tax: Money) -> InvoiceTax:
    mine = [line for line in note.lines if (line.tax_category, line.tax_percent) == key]
    codes = list(dict.fromkeys(line.tax_reason_code for line in mine if line.tax_reason_code))
    reasons = list(dict.fromkeys(line.tax_reason for line in mine if line.tax_reason))
    return InvoiceTax(
        category=key[0],  # type: ignore[arg-type]  # as the invoice had it
        percent=key[1],
        taxable=net,
        tax=tax,
        reason_code=codes[0] if codes else None,
        reason="; ".join(reasons) or None,
    )


def _delivery(profile: BillingProfile | None, facts: DocumentFacts) -> DocumentDelivery | None:
    """The newest that is known: it says where documents go from now on, and nothing of what was agreed on."""
    return facts.delivery or (None if profile is None else profile.delivery)


def _bank(seller: Seller, facts: DocumentFacts) -> BankAccount | None:
    told = None if seller.details is None else seller.details.bank
    return told or (None if facts.seller_details is None else facts.seller_details.bank)


def _seller_address(seller: Seller, facts: DocumentFacts) -> ElectronicAddress | None:
    told = None if seller.details is None else seller.details.electronic_address
    return told or (None if facts.seller_details is None else facts.seller_details.electronic_address)


def _buyer_address(profile: BillingProfile | None, facts: DocumentFacts) -> ElectronicAddress | None:
    told = None if profile is None or profile.delivery is None else profile.delivery.electronic_address
    return told or (None if facts.delivery is None else facts.delivery.electronic_address)

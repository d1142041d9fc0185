"""Request and response bodies of billing."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from libs.common.money import Money
from libs.common.periods import local_date
from libs.common.web.bodies import (
    BusinessDate,
    DecimalText,
    Instant,
    MoneyBody,
    StrictBody,
    identifier,
)
from services.billing.application.queries import InvoiceView
from services.billing.domain.agreement import Address, CustomerDetails
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import NO_SELLER, AppliedDiscount, Invoice, terms_of
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.payment import PaymentAttempt
from services.billing.domain.seller import Seller
from services.billing.domain.settlement import InvoiceTax

CustomerId = Annotated[str, identifier("cus")]
SubscriptionId = Annotated[str, identifier("sub")]

InvoiceStatusText = Literal["draft", "finalized", "paid", "void", "uncollectible", "skipped", "gathered"]
DocumentKindText = Literal[
    "invoice", "change", "credit", "correction", "interim", "one_off", "deposit", "compensation", "top_up"
]


AwaitedText = Literal["usage", "seller", "grace", "person", "gathering", "billing_run"]


class PaymentAttemptBody(StrictBody):
    """`due_at` is when it is tried, in the customer's time, or, while it is `processing`, asked about; null once it has
    ended. With `needs_action` it is the customer who has still to act, else a bank.
    """

    id: str
    invoice_id: str
    number: int
    state: str
    amount: MoneyBody
    payment_method_id: str | None
    gateway_reference: str | None
    reason: str | None
    needs_action: bool
    due_at: Instant | None
    ended_at: Instant | None
    created_at: Instant
    version: int

    @classmethod
    def from_domain(cls, attempt: PaymentAttempt) -> Self:
        plain = {name: getattr(attempt, name) for name in cls.model_fields if name != "amount"}
        return cls(**plain, amount=MoneyBody.from_money(attempt.amount))


class ServicePeriodBody(StrictBody):
    """Local dates in the agreement's zone; `end` is not included."""

    start: BusinessDate
    end: BusinessDate


class LineTaxBody(StrictBody):
    """The category by EN 16931 (S, Z, E, AE, K, G, O) and the rate; why it is not taxed, where it is not."""

    category: str
    percent: DecimalText
    reason_code: str | None
    reason: str | None


class InvoiceLineBody(StrictBody):
    """`formula` says how `amount` came about; the explanation leads to the events behind it.

    `amount` is as priced, with the tax inside where the price includes it. Less `prepaid` (covered by prepaid units)
    and `discount`, and without tax, it is `net`.
    """

    id: str
    ordinal: int
    description: str
    tier: int | None
    quantity: DecimalText
    unit_amount: DecimalText
    amount: MoneyBody
    prepaid: MoneyBody
    discount: MoneyBody
    net: MoneyBody
    tax: LineTaxBody
    service_period: ServicePeriodBody
    subscription_id: str | None
    item_id: str | None
    product_id: str | None
    corrects_line_id: str | None
    manual_line_id: str | None
    formula: str
    explanation: str

    @classmethod
    def from_domain(cls, line: InvoiceLine) -> Self:
        return cls(
            id=line.id,
            ordinal=line.ordinal,
            description=line.description,
            tier=line.tier,
            quantity=line.quantity,
            unit_amount=line.unit_amount,
            amount=MoneyBody.from_money(line.amount),
            prepaid=MoneyBody.from_money(line.prepaid),
            discount=MoneyBody.from_money(line.discount),
            net=MoneyBody.from_money(line.net),
            tax=LineTaxBody(
                category=line.tax_category,
                percent=line.tax_percent,
                reason_code=line.tax_reason_code,
                reason=line.tax_reason,
            ),
            service_period=ServicePeriodBody(start=line.service_start_on, end=line.service_end_on),
            subscription_id=line.subscription_id,
            item_id=None if line.item_id == line.subscription_id else line.item_id,
            product_id=line.product_id,
            corrects_line_id=line.corrects_line_id,
            manual_line_id=line.manual_line_id,
            formula=line.formula,
            explanation=f"/v1/invoices/{line.invoice_id}/lines/{line.id}/explanation",
        )


class InvoicePartyBody(StrictBody):
    """The seller, as he was when the invoice was issued."""

    id: str
    name: str
    country: str
    address: str | None
    tax_number: str | None
    footer: str | None

    @classmethod
    def from_domain(cls, party: Seller) -> Self:
        return cls(**{name: getattr(party, name) for name in cls.model_fields})


class BilledAddressBody(StrictBody):
    line1: str | None
    line2: str | None
    postal_code: str | None
    city: str | None
    region: str | None
    country: str | None

    @classmethod
    def from_domain(cls, address: Address) -> Self:
        return cls(**{name: getattr(address, name) for name in cls.model_fields})


class BilledCustomerBody(StrictBody):
    """Who pays, as the boundary of the document found him. An issued invoice keeps it, whatever happens later."""

    id: str
    name: str
    country: str | None
    legal_name: str | None
    vat_id: str | None
    address: BilledAddressBody | None

    @classmethod
    def from_domain(cls, customer: CustomerDetails) -> Self:
        plain = {name: getattr(customer, name) for name in cls.model_fields if name != "address"}
        address = customer.address
        return cls(**plain, address=None if address is None else BilledAddressBody.from_domain(address))


class InvoiceSummaryBody(StrictBody):
    """`balance_applied` is what the balance of who pays has paid of it, or, below zero, what it was given.

    What a document with the status `gathered` held stands on the one that it was `gathered_into`. `payment_reference` is
    what a payer quotes (ISO 11649).
    """

    id: str
    document_kind: DocumentKindText
    number: str | None
    payment_reference: str | None
    status: InvoiceStatusText
    status_reason: str | None
    waits_for: list[AwaitedText]
    draft_until: Instant | None
    subscription_id: str | None
    subscription_ids: list[str]
    gathered_into: str | None
    customer_id: str
    boundary_at: Instant
    currency: str
    subtotal: MoneyBody
    prepaid: MoneyBody
    discount: MoneyBody
    net: MoneyBody
    tax: MoneyBody
    total: MoneyBody
    credits_applied: MoneyBody
    balance_applied: MoneyBody
    credited: MoneyBody
    paid: MoneyBody
    due: MoneyBody
    issued_at: Instant | None
    issued_on: BusinessDate | None
    due_on: BusinessDate | None
    paid_at: Instant | None
    external_id: str | None
    test_clock_id: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, invoice: Invoice) -> Self:
        return cls(**_summary(invoice))


def awaited_by(invoice: Invoice) -> list[str]:
    """What a draft waits for: once that is there, it is finalized."""
    if invoice.status != "draft":
        return []
    awaited = {
        "usage": invoice.awaits_window,
        "seller": invoice.status_reason == NO_SELLER,
        "grace": invoice.draft_until is not None and invoice.held_for is None,
        invoice.held_for: invoice.held_for is not None,
    }
    return [name for name, is_awaited in awaited.items() if name is not None and is_awaited]


def _money(amount: Money) -> MoneyBody:
    return MoneyBody.from_money(amount)


def _summary(invoice: Invoice) -> dict[str, object]:
    return {
        "id": invoice.id,
        "document_kind": invoice.document_kind,
        "number": invoice.number,
        "payment_reference": invoice.payment_reference,
        "status": invoice.status,
        "status_reason": invoice.status_reason,
        "waits_for": awaited_by(invoice),
        "draft_until": invoice.draft_until if invoice.status == "draft" else None,
        "subscription_id": invoice.subscription_id,
        "subscription_ids": list(invoice.about),
        "gathered_into": invoice.gathered_into,
        "customer_id": invoice.customer_id,
        "boundary_at": invoice.boundary_at,
        "currency": invoice.currency,
        "subtotal": _money(invoice.subtotal),
        "prepaid": _money(invoice.prepaid),
        "discount": _money(invoice.discount),
        "net": _money(invoice.net),
        "tax": _money(invoice.tax),
        "total": _money(invoice.total),
        "credits_applied": _money(invoice.credits_applied),
        "balance_applied": _money(invoice.balance_applied),
        "credited": _money(invoice.credited),
        "paid": _money(invoice.paid),
        "due": _money(invoice.due),
        "issued_at": invoice.issued_at,
        "issued_on": None if invoice.issued_at is None else local_date(invoice.issued_at, invoice.zone),
        "due_on": invoice.due_on,
        "paid_at": invoice.paid_at,
        "external_id": invoice.external_id,
        "test_clock_id": invoice.clock_id,
        "version": invoice.version,
        "created_at": invoice.created_at,
    }


class InvoiceTaxBody(LineTaxBody):
    """The tax of all lines of one category and rate: `taxable` is their net."""

    taxable: MoneyBody
    tax: MoneyBody

    @classmethod
    def from_domain(cls, tax: InvoiceTax) -> Self:
        return cls(
            category=tax.category,
            percent=tax.percent,
            reason_code=tax.reason_code,
            reason=tax.reason,
            taxable=_money(tax.taxable),
            tax=_money(tax.tax),
        )


class InvoiceDiscountBody(StrictBody):
    """What a coupon took off `base`, and how that was worked out."""

    coupon: str
    name: str
    base: MoneyBody
    amount: MoneyBody
    formula: str

    @classmethod
    def from_domain(cls, discount: AppliedDiscount) -> Self:
        return cls(
            coupon=discount.coupon.code,
            name=discount.coupon.name,
            base=_money(discount.base),
            amount=_money(discount.amount),
            formula=discount.told,
        )


class TermsBody(StrictBody):
    """`days` after the date of issue, or after the last day of its month. Whoever issues a draft may have others."""

    days: int
    counted_from: Literal["issue", "month_end"]

    @classmethod
    def of(cls, invoice: Invoice) -> Self | None:
        """Those that were said of a draft; of an issued invoice, those that hold."""
        terms = invoice.payment_terms if invoice.seller is None else terms_of(invoice, invoice.seller)
        return None if terms is None else cls(days=terms.days, counted_from=terms.counted_from)


class InvoiceBody(InvoiceSummaryBody):
    """`notes`, `purchase_order` and `buyer_reference` of a draft are its own; the customer's come when it is issued."""

    seller: InvoicePartyBody | None
    customer: BilledCustomerBody
    taxes: list[InvoiceTaxBody]
    discounts: list[InvoiceDiscountBody]
    notes: str | None
    purchase_order: str | None
    buyer_reference: str | None
    payment_terms: TermsBody | None
    replaces_id: str | None
    lines: list[InvoiceLineBody]

    @classmethod
    def from_view(cls, view: InvoiceView) -> Self:
        seller = view.invoice.seller
        return cls.model_validate(
            {
                **_summary(view.invoice),
                "seller": None if seller is None else InvoicePartyBody.from_domain(seller),
                "customer": BilledCustomerBody.from_domain(view.invoice.customer),
                "taxes": [InvoiceTaxBody.from_domain(tax) for tax in view.invoice.taxes],
                "discounts": [InvoiceDiscountBody.from_domain(taken) for taken in view.invoice.discounts],
                "notes": view.invoice.notes,
                "purchase_order": view.invoice.purchase_order,
                "buyer_reference": view.invoice.buyer_reference,
                "payment_terms": TermsBody.of(view.invoice),
                "replaces_id": view.invoice.replaces_id,
                "lines": [InvoiceLineBody.from_domain(line) for line in view.lines],
            }
        )


def item_of(charge: Charge) -> str | None:
    """None of what belongs to the whole agreement: fees, and what is short of a commitment or beyond it."""
    return None if charge.item_id == charge.subscription_id else charge.item_id

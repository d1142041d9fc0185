"""Request and response bodies of billing."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from libs.common.money import Money
from libs.common.web.bodies import (
    BusinessDate,
    Code,
    DecimalText,
    Description,
    Instant,
    MoneyBody,
    Name,
    StrictBody,
    identifier,
)
from services.billing.application.create_seller import CreateSeller
from services.billing.application.queries import InvoiceView, LedgerEntryView, LineExplanation
from services.billing.domain.agreement import Address, CustomerDetails
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import NO_SELLER, Invoice, InvoiceLine
from services.billing.domain.payment import PaymentAttempt, PaymentMethod
from services.billing.domain.seller import Seller

CustomerId = Annotated[str, identifier("cus")]
SubscriptionId = Annotated[str, identifier("sub")]

InvoiceStatusText = Literal["draft", "finalized", "paid", "void", "uncollectible", "skipped"]
DocumentKindText = Literal["invoice", "change", "credit"]


class NewSellerBody(StrictBody):
    """`number_prefix` stands before each invoice number of this seller."""

    code: Code
    name: Name
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", examples=["NL"])]
    number_prefix: Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9/-]{0,15}$", examples=["INV-"])] = "INV-"
    payment_terms_days: Annotated[int, Field(strict=True, ge=0, le=365)] = 14
    address: Description | None = None
    tax_number: Annotated[str, Field(max_length=64)] | None = None

    def to_command(self) -> CreateSeller:
        return CreateSeller(
            code=self.code,
            name=self.name,
            country=self.country,
            number_prefix=self.number_prefix,
            payment_terms_days=self.payment_terms_days,
            address=self.address,
            tax_number=self.tax_number,
        )


class SellerBody(StrictBody):
    id: str
    code: str
    name: str
    country: str
    number_prefix: str
    payment_terms_days: int
    is_default: bool
    address: str | None
    tax_number: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, seller: Seller) -> Self:
        return cls(**{name: getattr(seller, name) for name in cls.model_fields})


class NewPaymentMethodBody(StrictBody):
    """`behaviour` tells the sandbox gateway what to do: it moves no money."""

    customer_id: CustomerId
    gateway: Literal["sandbox"] = "sandbox"
    behaviour: Literal["succeeds", "fails_once", "always_fails", "times_out_once"] = "succeeds"


class PaymentMethodBody(StrictBody):
    id: str
    customer_id: str
    gateway: str
    behaviour: str
    is_default: bool
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, method: PaymentMethod) -> Self:
        return cls(**{name: getattr(method, name) for name in cls.model_fields})


class PaymentAttemptBody(StrictBody):
    """`due_at` is when it is tried, in the customer's time; null once it has ended."""

    id: str
    invoice_id: str
    number: int
    state: str
    amount: MoneyBody
    payment_method_id: str | None
    gateway_reference: str | None
    reason: str | None
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


class InvoiceLineBody(StrictBody):
    """`formula` says how `net` came about; the explanation leads to the events behind it."""

    id: str
    ordinal: int
    description: str
    tier: int | None
    quantity: DecimalText
    unit_amount: DecimalText
    net: MoneyBody
    service_period: ServicePeriodBody
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
            net=MoneyBody.from_money(line.net),
            service_period=ServicePeriodBody(start=line.service_start_on, end=line.service_end_on),
            formula=line.formula,
            explanation=f"/v1/invoices/{line.invoice_id}/lines/{line.id}/explanation",
        )


class InvoicePartyBody(StrictBody):
    """The seller, as he was when the invoice was issued."""

    id: str
    name: str
    country: str | None

    @classmethod
    def from_domain(cls, party: Seller) -> Self:
        return cls(id=party.id, name=party.name, country=party.country)


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
    """`balance_applied` is what the balance of who pays has paid of it, or, below zero, what it was given."""

    id: str
    document_kind: DocumentKindText
    number: str | None
    status: InvoiceStatusText
    status_reason: str | None
    waits_for: list[Literal["usage", "seller"]]
    subscription_id: str
    customer_id: str
    boundary_at: Instant
    currency: str
    net: MoneyBody
    tax: MoneyBody
    total: MoneyBody
    balance_applied: MoneyBody
    paid: MoneyBody
    due: MoneyBody
    issued_at: Instant | None
    due_on: BusinessDate | None
    paid_at: Instant | None
    test_clock_id: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, invoice: Invoice) -> Self:
        return cls(**_summary(invoice))


def awaited_by(invoice: Invoice) -> list[str]:
    if invoice.status != "draft":
        return []
    awaited = {"usage": invoice.awaits_window, "seller": invoice.status_reason == NO_SELLER}
    return [name for name, is_awaited in awaited.items() if is_awaited]


def _money(amount: Money) -> MoneyBody:
    return MoneyBody.from_money(amount)


def _summary(invoice: Invoice) -> dict[str, object]:
    return {
        "id": invoice.id,
        "document_kind": invoice.document_kind,
        "number": invoice.number,
        "status": invoice.status,
        "status_reason": invoice.status_reason,
        "waits_for": awaited_by(invoice),
        "subscription_id": invoice.subscription_id,
        "customer_id": invoice.customer_id,
        "boundary_at": invoice.boundary_at,
        "currency": invoice.currency,
        "net": _money(invoice.net),
        "tax": _money(invoice.tax),
        "total": _money(invoice.total),
        "balance_applied": _money(invoice.balance_applied),
        "paid": _money(invoice.paid),
        "due": _money(invoice.due),
        "issued_at": invoice.issued_at,
        "due_on": invoice.due_on,
        "paid_at": invoice.paid_at,
        "test_clock_id": invoice.clock_id,
        "version": invoice.version,
        "created_at": invoice.created_at,
    }


class InvoiceBody(InvoiceSummaryBody):
    seller: InvoicePartyBody | None
    customer: BilledCustomerBody
    lines: list[InvoiceLineBody]

    @classmethod
    def from_view(cls, view: InvoiceView) -> Self:
        seller = view.invoice.seller
        return cls.model_validate(
            {
                **_summary(view.invoice),
                "seller": None if seller is None else InvoicePartyBody.from_domain(seller),
                "customer": BilledCustomerBody.from_domain(view.invoice.customer),
                "lines": [InvoiceLineBody.from_domain(line) for line in view.lines],
            }
        )


def item_of(charge: Charge) -> str | None:
    """None of what belongs to the whole agreement: fees, and what is short of a commitment or beyond it."""
    return None if charge.item_id == charge.subscription_id else charge.item_id


class ExplainedPriceBody(StrictBody):
    id: str
    code: str
    product_id: str | None
    kind: str
    timing: str
    model: str
    currency: str
    unit_amount: DecimalText | None
    tiers: list[dict[str, str | None]]
    meter: str | None
    proration: str

    @classmethod
    def from_charge(cls, charge: Charge) -> Self:
        price = charge.price
        return cls(
            id=price.id,
            code=price.code,
            product_id=price.product_id or None,
            kind=price.kind,
            timing=price.timing,
            model=price.model,
            currency=price.currency,
            unit_amount=price.unit_amount,
            tiers=[
                {
                    "up_to": None if tier.up_to is None else format(tier.up_to, "f"),
                    "unit_amount": format(tier.unit_amount, "f"),
                    "flat_amount": None if tier.flat_amount is None else format(tier.flat_amount, "f"),
                }
                for tier in price.tiers
            ],
            meter=price.meter,
            proration=price.proration,
        )


class ExplainedUsageBody(StrictBody):
    """`events` leads to the very events behind the quantity, page by page."""

    window_id: str
    event_count: int
    events: str


class LineExplanationBody(StrictBody):
    """The line, what it was made from, and what comes of that today: `agrees` when it is the very same line.

    A change goes from `quantity_before` to `quantity`, or to nothing where `gives_back`. A fee belongs to no item.
    """

    line: InvoiceLineBody
    charge_id: str
    charge: Annotated[str, Field(description="Item, price, billing period, kind and revision.")]
    charge_kind: str
    item_id: str | None
    quantity: DecimalText
    quantity_before: DecimalText | None
    gives_back: bool
    fraction_of_period: str
    price: ExplainedPriceBody
    usage: ExplainedUsageBody | None
    derived_net: MoneyBody | None
    agrees: bool

    @classmethod
    def from_view(cls, view: LineExplanation) -> Self:
        charge, derived = view.charge, view.derived
        usage = None
        if charge.usage_window_id is not None:
            usage = ExplainedUsageBody(
                window_id=charge.usage_window_id,
                event_count=charge.event_count or 0,
                events=f"/v1/usage-windows/{charge.usage_window_id}/events?item_id={charge.item_id}",
            )
        return cls(
            line=InvoiceLineBody.from_domain(view.line),
            charge_id=charge.id,
            charge=charge.identity,
            charge_kind=charge.kind,
            item_id=item_of(charge),
            quantity=charge.quantity,
            quantity_before=charge.quantity_before,
            gives_back=charge.is_end,
            fraction_of_period=str(charge.fraction),
            price=ExplainedPriceBody.from_charge(charge),
            usage=usage,
            derived_net=None if derived is None else _money(derived.net),
            agrees=derived == view.line,
        )


class LedgerEntryBody(StrictBody):
    """A debit (positive) or a credit (negative) of one balanced set, `posting`."""

    id: str
    posting: str
    account: str
    amount: MoneyBody
    posted_at: Instant
    invoice_id: str | None
    attempt_id: str | None
    customer_balance_entry_id: str | None

    @classmethod
    def from_view(cls, view: LedgerEntryView) -> Self:
        return cls(
            id=view.id,
            posting=view.posting,
            account=view.account,
            amount=_money(view.amount),
            posted_at=view.posted_at,
            invoice_id=view.invoice_id,
            attempt_id=view.attempt_id,
            customer_balance_entry_id=view.balance_entry_id,
        )

"""Request and response bodies of previews of invoices."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from libs.common.web.bodies import BusinessDate, DecimalText, Instant, MoneyBody, StrictBody
from services.billing.application.preview_invoices import InvoicePreview, PreviewedDocument
from services.billing.domain.charge import Charge
from services.billing.domain.customer_balance import CustomerBalance
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.entrypoints.bodies import (
    AwaitedText,
    DocumentKindText,
    InvoiceStatusText,
    ServicePeriodBody,
    awaited_by,
    item_of,
)

EVENTS_MAX = 200

PreviewedType = Literal[
    "perennial.subscriptions.subscription.scheduled.v1",
    "perennial.subscriptions.subscription.started.v1",
    "perennial.subscriptions.subscription.renewed.v1",
    "perennial.subscriptions.subscription.changed.v1",
    "perennial.subscriptions.subscription.paused.v1",
    "perennial.subscriptions.subscription.resumed.v1",
    "perennial.subscriptions.subscription.ended.v1",
    "perennial.metering.usage_window.closed.v1",
]


class PreviewedEventBody(StrictBody):
    """An event as subscriptions or metering would publish it. `tenant` is the token's, whatever `data` says."""

    type: PreviewedType
    data: dict[str, Any]


class NewInvoicePreviewBody(StrictBody):
    """In the order in which they would come; the first of a subscription that billing does not know begins it."""

    events: Annotated[list[PreviewedEventBody], Field(min_length=1, max_length=EVENTS_MAX)]


class PreviewedLineBody(StrictBody):
    """A line as it would stand on the invoice, with the id that it would have. A fee belongs to no item."""

    id: str
    ordinal: int
    description: str
    charge_kind: str
    item_id: str | None
    price_id: str | None
    tier: int | None
    quantity: DecimalText
    unit_amount: DecimalText
    amount: MoneyBody
    discount: MoneyBody
    net: MoneyBody
    service_period: ServicePeriodBody
    formula: str

    @classmethod
    def from_domain(cls, line: InvoiceLine, charge: Charge | None) -> Self:
        return cls(
            id=line.id,
            ordinal=line.ordinal,
            description=line.description,
            charge_kind="manual" if charge is None else charge.kind,
            item_id=None if charge is None else item_of(charge),
            price_id=line.price_id,
            tier=line.tier,
            quantity=line.quantity,
            unit_amount=line.unit_amount,
            amount=MoneyBody.from_money(line.amount),
            discount=MoneyBody.from_money(line.discount),
            net=MoneyBody.from_money(line.net),
            service_period=ServicePeriodBody(start=line.service_start_on, end=line.service_end_on),
            formula=line.formula,
        )


class PreviewedDocumentBody(StrictBody):
    """A document as it would be, but for its number, with the id that it would have. `customer_id` is who pays.

    A `draft` would still wait for usage, or for a seller; its lines are those that are known by then.
    """

    id: str
    document_kind: DocumentKindText
    issue: int
    subscription_id: str | None
    customer_id: str
    boundary_at: Instant
    period_index: int
    status: InvoiceStatusText
    status_reason: str | None
    waits_for: list[AwaitedText]
    draft_until: Instant | None
    currency: str
    subtotal: MoneyBody
    discount: MoneyBody
    net: MoneyBody
    tax: MoneyBody
    total: MoneyBody
    credits_applied: MoneyBody
    balance_applied: MoneyBody
    due: MoneyBody
    issued_at: Instant | None
    due_on: BusinessDate | None
    lines: list[PreviewedLineBody]

    @classmethod
    def from_view(cls, document: PreviewedDocument) -> Self:
        invoice = document.invoice
        plain = (
            "id",
            "document_kind",
            "issue",
            "subscription_id",
            "customer_id",
            "boundary_at",
            "period_index",
            "status",
            "status_reason",
            "currency",
            "issued_at",
            "due_on",
            "draft_until",
        )
        amounts = (
            "subtotal",
            "discount",
            "net",
            "tax",
            "total",
            "credits_applied",
            "balance_applied",
            "due",
        )
        return cls.model_validate(
            {
                **{name: getattr(invoice, name) for name in plain},
                **{name: MoneyBody.from_money(getattr(invoice, name)) for name in amounts},
                "waits_for": awaited_by(invoice),
                "lines": [
                    PreviewedLineBody.from_domain(line, document.charges.get(line.charge_id or ""))
                    for line in document.lines
                ],
            }
        )


class PreviewedBalanceBody(StrictBody):
    customer_id: str
    currency: str
    before: MoneyBody
    after: MoneyBody

    @classmethod
    def from_domain(cls, before: CustomerBalance, after: CustomerBalance) -> Self:
        return cls(
            customer_id=after.customer_id,
            currency=after.amount.currency,
            before=MoneyBody.from_money(before.amount),
            after=MoneyBody.from_money(after.amount),
        )


class InvoicePreviewBody(StrictBody):
    """Documents in the order of their boundaries, and the balances that would change."""

    documents: list[PreviewedDocumentBody]
    balances: list[PreviewedBalanceBody]

    @classmethod
    def from_view(cls, preview: InvoicePreview) -> Self:
        return cls(
            documents=[PreviewedDocumentBody.from_view(document) for document in preview.documents],
            balances=[PreviewedBalanceBody.from_domain(before, after) for before, after in preview.balances],
        )

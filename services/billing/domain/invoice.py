"""The demand: draft → finalized → paid. A finalized invoice never changes.

A document may come out below zero: it gives to the balance of who pays, from which later invoices are paid first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from libs.common.errors import Conflict, NotFound
from libs.common.ids import derived_id
from libs.common.money import Money
from libs.common.periods import local_date
from services.billing.domain.agreement import Agreement, CustomerDetails
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.charge_line import ChargeLine
from services.billing.domain.customer_balance import balance_applied
from services.billing.domain.discount import Coupon, explain
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.payment_terms import BusinessCalendar, PaymentTerms, due_date
from services.billing.domain.postings_of_invoices import income_of
from services.billing.domain.remittance import creditor_reference
from services.billing.domain.seller import NumberedKind, Seller
from services.billing.domain.settlement import InvoiceTax, Settled

InvoiceStatus = Literal["draft", "finalized", "paid", "void", "uncollectible", "skipped", "gathered"]
DocumentKind = Literal[
    "invoice", "change", "credit", "correction", "interim", "one_off", "deposit", "compensation", "top_up"
]
HeldFor = Literal["person", "gathering", "billing_run"]

MAIN_SERIES = "main"
NO_SELLER = "no_seller"
EARNED_OVER_TIME = ("advance", "arrears")  # usage, fees and what is charged once are earned at once
NOTHING_DUE = "nothing_due"
GRACED = ("invoice", "change", "credit")  # what nobody asked for at that very moment


class InvoiceNotFound(NotFound):
    code = "invoice_not_found"
    title = "There is no such invoice"


class InvoiceNotPayable(Conflict):
    code = "invoice_not_payable"
    title = "The invoice cannot be paid now"


@dataclass(frozen=True, slots=True)
class AppliedDiscount:
    """What a coupon took off `base`: the coupon as it was then, so that it can be worked out again."""

    coupon: Coupon
    base: Money
    amount: Money
    told: str


@dataclass(frozen=True, slots=True)
class Invoice:
    """One document of a group at one boundary. Its identity is group, boundary, kind and issue.

    The group is the subscription, unless its payer's invoices are gathered, or the document is about none.
    An `invoice` is raised at a boundary of periods, a `change` where a change is settled at once, a `credit` where what
    a change gives back goes to the balance, a `correction` where something billed is put right, an `interim` one at a
    spend threshold. `customer` pays. `subtotal` are the lines as priced; less what is `prepaid` in units and the
    `discount`, and without tax, they are `net`. `credits_applied` is what prepaid money paid of the total,
    `balance_applied` what the balance did; where the total is below zero, what the balance was given, as a negative
    amount. `credited` is what credit notes took off what was still due. `reopened_count` is how often it had been
    paid and was due again since the money was taken back: what is told of it later goes over what was told before.
    `period_index` is that of the period beginning at the boundary; while `awaits_window`, the draft waits for
    the usage of the period before it. `skipped` is a draft that had nothing to pay, `gathered` one whose charges went
    to the document `gathered_into`. `due_at` is set on a draft that the scheduler shall finalize, not before
    `draft_until`, and not while it is `held_for` something. `number` is taken in the very last step.
    """

    id: str
    group_id: str
    subscription_id: str | None
    customer_id: str
    boundary_at: datetime
    document_kind: DocumentKind
    issue: int
    period_index: int
    status: InvoiceStatus
    awaits_window: bool
    currency: str
    zone: str
    series: str
    created_at: datetime
    clock_id: str | None
    traceparent: str | None
    net: Money
    tax: Money
    total: Money
    paid: Money
    balance_applied: Money
    customer: CustomerDetails
    subtotal: Money
    discount: Money
    prepaid: Money
    credits_applied: Money
    credited: Money
    status_reason: str | None = None
    seller: Seller | None = None
    number: str | None = None
    issued_at: datetime | None = None
    due_on: date | None = None
    paid_at: datetime | None = None
    due_at: datetime | None = None
    version: int = 1
    taxes: tuple[InvoiceTax, ...] = ()
    discounts: tuple[AppliedDiscount, ...] = ()
    subscription_ids: tuple[str, ...] = ()
    profile: BillingProfile | None = None
    notes: str | None = None
    purchase_order: str | None = None
    buyer_reference: str | None = None
    external_id: str | None = None
    draft_until: datetime | None = None
    held_for: HeldFor | None = None
    gathered_into: str | None = None
    replaces_id: str | None = None
    voided_at: datetime | None = None
    payment_terms: PaymentTerms | None = None
    reopened_count: int = 0

    @property
    def due(self) -> Money:
        """What is still to be paid with money."""
        return self.total - self.credits_applied - self.balance_applied - self.paid - self.credited

    @property
    def waits_for_transfer(self) -> bool:
        """Whether nobody is asked for the money: who pays said that he transfers it."""
        return self.profile is not None and self.profile.pays_by == "bank_transfer"

    @property
    def payment_reference(self) -> str | None:
        """What a payer quotes (ISO 11649); None while the document has no number."""
        return None if self.number is None else creditor_reference(self.number, self.id)

    @property
    def about(self) -> tuple[str, ...]:
        """The subscriptions that it bills."""
        return self.subscription_ids or (() if self.subscription_id is None else (self.subscription_id,))

    def awaits_usage_of(self, period_index: int) -> bool:
        """Whether the usage of that period is what this draft waits for."""
        return self.status == "draft" and self.awaits_window and period_index == self.period_index - 1


def invoice_id(
    group_id: str, boundary_at: datetime, document_kind: DocumentKind = "invoice", issue: int = 1
) -> str:
    """Derived from the document's identity, so that there is one, however often it is made."""
    instant = boundary_at.astimezone(UTC).isoformat()
    return derived_id("inv", group_id, instant, document_kind, str(issue))


def open_draft(
    agreement: Agreement,
    *,
    boundary_at: datetime,
    period_index: int,
    awaits_window: bool,
    traceparent: str | None,
    now: datetime,
    document_kind: DocumentKind = "invoice",
    issue: int = 1,
) -> Invoice:
    """A draft without charges yet, for who pays, as the boundary found him."""
    return open_document(
        agreement.id,
        agreement.pays,
        subscription_id=agreement.id,
        boundary_at=boundary_at,
        currency=agreement.currency,
        zone=agreement.zone,
        clock_id=agreement.clock_id,
        period_index=period_index,
        awaits_window=awaits_window,
        traceparent=traceparent,
        now=now,
        document_kind=document_kind,
        issue=issue,
    )


def open_document(
    group_id: str,
    payer: CustomerDetails,
    *,
    boundary_at: datetime,
    currency: str,
    zone: str,
    clock_id: str | None,
    traceparent: str | None,
    now: datetime,
    document_kind: DocumentKind,
    issue: int = 1,
    subscription_id: str | None = None,
    period_index: int = 0,
    awaits_window: bool = False,
) -> Invoice:
    """A draft without lines yet, about one subscription, several or none."""
    zero = Money.zero(currency)
    return Invoice(
        id=invoice_id(group_id, boundary_at, document_kind, issue),
        group_id=group_id,
        subscription_id=subscription_id,
        customer_id=payer.id,
        boundary_at=boundary_at,
        document_kind=document_kind,
        issue=issue,
        period_index=period_index,
        status="draft",
        awaits_window=awaits_window,
        currency=currency,
        zone=zone,
        series=clock_id or MAIN_SERIES,  # each test clock has numbers of its own
        created_at=now,
        clock_id=clock_id,
        traceparent=traceparent,
        net=zero,
        tax=zero,
        total=zero,
        paid=zero,
        balance_applied=zero,
        subtotal=zero,
        discount=zero,
        prepaid=zero,
        credits_applied=zero,
        credited=zero,
        customer=payer,
    )


def with_usage(draft: Invoice) -> Invoice:
    """The usage that the draft waited for has come."""
    return replace(draft, awaits_window=False, version=draft.version + 1)


def lines_of(
    invoice: Invoice, charges: Sequence[Charge], manual: Sequence[ManualLine] = ()
) -> list[InvoiceLine]:
    """The lines that charges come to, before coupons and tax: what is behind first, then what is ahead; tiers in their
    order. What a person put on the document stands last.

    Lines of nothing (no quantity, no amount) are left out; something that was free is shown.
    """
    zero = Money.zero(invoice.currency)
    lines: list[InvoiceLine] = []
    for charge in sorted(charges, key=_place):
        for rated in rated_lines(charge):
            if not rated.rounded and not rated.quantity:
                continue
            lines.append(
                InvoiceLine(
                    id=derived_id("lin", invoice.id, charge.id, rated.key),
                    invoice_id=invoice.id,
                    charge_id=charge.id,
                    ordinal=len(lines) + 1,
                    tier=rated.tier or None,
                    description=rated.description,
                    quantity=rated.shown_quantity,
                    unit_amount=rated.shown_unit_amount,
                    amount=rated.amount,
                    prepaid=zero,
                    discount=zero,
                    net=rated.amount,
                    formula=rated.formula,
                    service_start_on=charge.service_start_on,
                    service_end_on=charge.service_end_on,
                    subscription_id=charge.subscription_id,
                    item_id=charge.item_id,
                    price_id=charge.price.id,
                    product_id=charge.price.product_id or None,
                    plan_code=charge.plan_code,
                    tax_behavior=charge.price.tax_behavior,
                    product_tax_category=charge.price.tax_category,
                    earned_until=charge.service_end_on if charge.kind in EARNED_OVER_TIME else None,
                    corrects_line_id=rated.corrects if isinstance(rated, ChargeLine) else None,
                )
            )
    for line in manual:
        lines.append(_manual(invoice, line, ordinal=len(lines) + 1))
    return lines


def _manual(invoice: Invoice, line: ManualLine, *, ordinal: int) -> InvoiceLine:
    amount, zero = line.amount, Money.zero(invoice.currency)
    start_on = line.service_start_on or local_date(invoice.boundary_at, invoice.zone)
    return InvoiceLine(
        id=derived_id("lin", invoice.id, line.id),
        invoice_id=invoice.id,
        charge_id=None,
        ordinal=ordinal,
        tier=None,
        description=line.description,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        amount=amount,
        prepaid=zero,
        discount=zero,
        net=amount,
        formula=f"{line.quantity:f} * {line.unit_amount:f} -> {amount.to_decimal()} {amount.currency}",
        service_start_on=start_on,
        service_end_on=line.service_end_on or start_on + timedelta(days=1),
        subscription_id=line.subscription_id,
        product_id=line.product_id,
        tax_behavior=line.tax_behavior,
        manual_line_id=line.id,
        product_tax_category=line.tax_category,
        earned_until=line.service_end_on,
        income="sla_reduction" if line.purpose == "sla_credit" else income_of(invoice.document_kind),
    )


def _place(charge: Charge) -> tuple[datetime, str, str, str, int]:
    return charge.service_start, charge.kind, charge.price.code, charge.item_id, charge.revision


@dataclass(frozen=True, slots=True)
class Finalized:
    """Issued, and also paid where nothing is left to be paid with money."""

    invoice: Invoice
    lines: tuple[InvoiceLine, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document on which nothing is owed, either way, is not issued."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet: the draft says what for."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class Means:
    """What may pay of a document before anybody is asked for money: prepaid credits first, then the balance."""

    credits: Money
    balance: Money


def with_grace(draft: Invoice, seller: Seller | None, profile: BillingProfile | None) -> Invoice:
    """The draft with the time until which it waits for somebody's look at it, counted from when it was opened.

    Once that is said, it stays so, whatever becomes of the seller's setting or the customer's.
    """
    if seller is None or draft.draft_until is not None or draft.document_kind not in GRACED:
        return draft
    own = None if profile is None else profile.draft_grace_hours
    hours = seller.draft_grace_hours if own is None else own
    return replace(draft, draft_until=draft.created_at + timedelta(hours=hours)) if hours else draft


def waits_at(draft: Invoice, now: datetime) -> bool:
    """Whether it is not to be finalized yet, whatever it holds: the scheduler or a person will."""
    if draft.awaits_window or draft.held_for is not None:
        return True
    return draft.draft_until is not None and now < draft.draft_until


def totalled(draft: Invoice, settled: Settled) -> Invoice:
    """The draft with what its lines come to."""
    return replace(
        draft,
        subtotal=settled.subtotal,
        prepaid=settled.prepaid,
        discount=settled.discount,
        net=settled.net,
        tax=settled.tax,
        total=settled.total,
        taxes=settled.taxes,
        discounts=tuple(
            AppliedDiscount(found.coupon, found.base, found.amount, explain(found))
            for found in settled.discounts
        ),
        due_at=None,
        version=draft.version + 1,
    )


def decide_finalization(
    draft: Invoice,
    settled: Settled,
    *,
    owes: bool,
    seller: Seller | None,
    profile: BillingProfile | None,
    means: Means,
    now: datetime,
    calendar: BusinessCalendar | None = None,
) -> Finalized | Skipped | Waiting:
    """Finalize a draft that awaits nothing more. The number is taken later, when everything else is done.

    A total above zero draws on `means`, one below zero gives to the balance; where nothing is left to be paid, the
    invoice is paid at once. Credits that equal the charges are issued too: all of them must stand on a document.
    `owes` is whether anything stands on it that is not zero. With a `calendar`, it is due on a business day.
    Raises: CurrencyMismatch.
    """
    assert draft.status == "draft", "only a draft can be finalized"
    known = totalled(draft, settled)
    if waits_at(draft, now):
        until = None if draft.awaits_window or draft.held_for is not None else draft.draft_until
        return Waiting(replace(known, due_at=until))
    if not owes and not _issued_for_nothing(draft, settled, seller):
        return Skipped(replace(known, status="skipped", status_reason=NOTHING_DUE))
    if seller is None:
        return Waiting(replace(known, status_reason=NO_SELLER))
    credits = _at_most(known.total, means.credits)
    known = replace(_with_references(known, profile), credits_applied=credits)
    applied = balance_applied(known.total - credits, means.balance)
    issued = _issued(known, seller, applied, now, calendar)
    if issued.due.amount_minor == 0:
        issued = paid_in_full(issued, now=now)
    return Finalized(issued, settled.lines)


def _with_references(draft: Invoice, profile: BillingProfile | None) -> Invoice:
    """What the buyer wants to read on it: as was said of this document, or else of all of the customer's."""
    if profile is None:
        return draft
    return replace(
        draft,
        profile=profile,
        notes=draft.notes if draft.notes is not None else profile.notes,
        purchase_order=draft.purchase_order or profile.purchase_order,
        buyer_reference=draft.buyer_reference or profile.buyer_reference,
    )


def _issued_for_nothing(draft: Invoice, settled: Settled, seller: Seller | None) -> bool:
    """Whether the seller wants an invoice where all that was had was free. One without a line tells nobody anything."""
    wanted = seller is not None and seller.zero_invoices == "issue"
    return wanted and draft.document_kind == "invoice" and bool(settled.lines)


def _at_most(total: Money, credits: Money) -> Money:
    """What prepaid credits pay: never more than is asked for, and nothing of a document that gives."""
    return Money(max(min(total.amount_minor, credits.amount_minor), 0), total.currency)


def _issued(
    draft: Invoice, seller: Seller, applied: Money, now: datetime, calendar: BusinessCalendar | None
) -> Invoice:
    return replace(
        draft,
        status="finalized",
        status_reason=None,
        seller=seller,
        balance_applied=applied,
        issued_at=now,
        due_on=due_date(local_date(now, draft.zone), terms_of(draft, seller), calendar=calendar),
    )


def terms_of(invoice: Invoice, seller: Seller) -> PaymentTerms:
    """When it is to be paid: as was said on the document itself, or after the days agreed on with who pays, or after the
    seller's."""
    if invoice.payment_terms is not None:
        return invoice.payment_terms
    agreed_days = invoice.customer.payment_terms_days
    days = seller.payment_terms_days if agreed_days is None else agreed_days
    return PaymentTerms(days, seller.payment_terms_from)


def numbered_kind(kind: DocumentKind) -> NumberedKind:
    """With which documents it counts: what is asked for as a deposit, or as compensation, is no invoice."""
    return kind if kind == "deposit" or kind == "compensation" else "invoice"


def paid_in_full(invoice: Invoice, *, now: datetime) -> Invoice:
    assert invoice.status == "finalized", "only a finalized invoice can be paid"
    paid = invoice.paid + invoice.due
    return replace(invoice, status="paid", paid=paid, paid_at=now, version=invoice.version + 1)

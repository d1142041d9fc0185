"""The document that gives back what a finalized invoice billed; the invoice itself never changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.ids import derived_id
from libs.common.money import CurrencyMismatch, Money, total
from libs.common.periods import local_date
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.credited_amounts import (
    Billed,
    Credited,
    CreditedLine,
    CreditedTax,
    LineCredit,
    credit_in_full,
    credit_of_amount,
    credit_of_lines,
)
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.seller import Seller

ONE = Decimal(1)


class CreditNoteNotFound(NotFound):
    code = "credit_note_not_found"
    title = "There is no such credit note"


class InvoiceNotCreditable(Conflict):
    code = "invoice_not_creditable"
    title = "The invoice cannot be credited"


class CreditSplitWrong(RuleViolation):
    """Where a credit goes must come to what is credited, and be open there."""

    code = "credit_split_wrong"
    title = "The credit cannot be split so"


@dataclass(frozen=True, slots=True)
class WantedCredit:
    """What is to be credited: these lines, or an amount with its tax, or, where both are None, all that is left."""

    lines: tuple[LineCredit, ...] | None = None
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Where the total goes: off what is still due, to the customer's balance, or back as money."""

    to_invoice: Money
    to_balance: Money
    to_refund: Money


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an invoice's total by now: still due, paid by money, or paid in any way; and what notes gave back.

    `given_back` is what went to balances and refunds, `refunded` the refunds alone.
    """

    due: Money
    paid: Money
    settled: Money
    given_back: Money
    refunded: Money


@dataclass(frozen=True, slots=True)
class CreditNoteLine:
    """What is credited of one invoice line, positive where that is. A part of a line is one piece at that amount.

    `amount` is as the line was priced, `paid` what was paid of that, `net` without the tax that is inside of it.
    """

    id: str
    credit_note_id: str
    invoice_line_id: str
    ordinal: int
    description: str
    quantity: Decimal
    unit_amount: Decimal
    amount: Money
    paid: Money
    net: Money
    tax_category: str
    tax_percent: Decimal
    tax_behavior: Literal["exclusive", "inclusive"]
    service_start_on: date
    service_end_on: date
    tax_reason_code: str | None = None
    tax_reason: str | None = None


@dataclass(frozen=True, slots=True)
class CreditNote:
    """Issued when it is made, and never changed. `net` + `tax` = `total` = what its three destinations come to.

    It is in the name of who paid the invoice and of its seller, as both are on the invoice. `taxes` are told by what was
    taxed together on the invoice. `number` is taken in the very last step.
    """

    id: str
    invoice_id: str
    invoice_number: str
    customer_id: str
    customer: CustomerDetails
    seller: Seller
    series: str
    currency: str
    zone: str
    reason: str
    net: Money
    tax: Money
    total: Money
    to_invoice: Money
    to_balance: Money
    to_refund: Money
    taxes: tuple[CreditedTax, ...]
    lines: tuple[CreditNoteLine, ...]
    issued_at: datetime
    created_at: datetime
    clock_id: str | None = None
    traceparent: str | None = None
    number: str | None = None

    @property
    def issued_on(self) -> date:
        return local_date(self.issued_at, self.zone)

    @property
    def credited(self) -> Credited:
        """As the next note sees it."""
        lines = tuple(
            CreditedLine(line.invoice_line_id, line.amount, line.paid, line.net) for line in self.lines
        )
        return Credited(lines, self.taxes, self.net, self.tax, self.total)


def check_creditable(invoice: Invoice) -> None:
    """Raises: InvoiceNotCreditable."""
    if invoice.status not in ("finalized", "paid"):
        raise InvoiceNotCreditable(
            f"the invoice is {invoice.status}", remedy="Only what is issued and stands can be credited."
        )
    if invoice.document_kind == "deposit":
        raise InvoiceNotCreditable(
            "a deposit is no sale",
            remedy="Release the deposit, or void the request while it is not paid.",
        )
    if invoice.document_kind == "top_up":
        raise InvoiceNotCreditable(
            "prepaid credits were bought with it", remedy="Void the invoice of the top-up instead."
        )


def credited(billed: Billed, earlier: Sequence[Credited], wanted: WantedCredit) -> Credited:
    """Raises: CreditBeyondBilled, NothingToCredit, NoSuchLine, CurrencyMismatch."""
    if wanted.lines is not None:
        return credit_of_lines(billed, earlier, wanted.lines)
    if wanted.amount is not None:
        return credit_of_amount(billed, earlier, wanted.amount)
    return credit_in_full(billed, earlier)


def usual_split(whole: Money, invoice: Settled, *, rest_to: Literal["balance", "refund"]) -> Split:
    """First off what is still due; the rest to the balance, or as refund as far as money was paid."""
    zero = Money.zero(whole.currency)
    to_invoice = _least(whole, invoice.due)
    rest = whole - to_invoice
    refund = _least(rest, invoice.paid - invoice.refunded) if rest_to == "refund" else zero
    return Split(to_invoice, rest - refund, refund)


def check_split(split: Split, whole: Money, invoice: Settled) -> None:
    """Raises: CreditSplitWrong, with everything that is wrong; CurrencyMismatch."""
    parts = (split.to_invoice, split.to_balance, split.to_refund)
    for name, part in zip(("to_invoice", "to_balance", "to_refund"), parts, strict=True):
        if part.currency != whole.currency:
            raise CurrencyMismatch(
                "the invoice is in another currency",
                pointer=f"/split/{name}/currency",
                one=whole.currency,
                other=part.currency,
            )
    if total(parts, whole.currency) != whole:
        raise CreditSplitWrong(
            "the parts do not come to what is credited",
            pointer="/split",
            credited=whole,
            remedy=f"Split {_text(whole)}, tax included, or leave the split out.",
        )
    if split.to_invoice.amount_minor > invoice.due.amount_minor:
        raise CreditSplitWrong(
            "less than that is still due",
            pointer="/split/to_invoice",
            due=invoice.due,
            remedy=f"Take no more than {_text(invoice.due)} off what is due.",
        )
    money = invoice.paid - invoice.refunded
    if split.to_refund.amount_minor > money.amount_minor:
        raise CreditSplitWrong(
            "less than that was paid with money, or it was given back already",
            pointer="/split/to_refund",
            refundable=money,
            remedy=f"Refund no more than {_text(money)}.",
        )
    settled = invoice.settled - invoice.given_back
    if (split.to_balance + split.to_refund).amount_minor > settled.amount_minor:
        raise CreditSplitWrong(
            "less than that was paid, or it was given back already",
            pointer="/split/to_balance",
            settled=settled,
            remedy=f"Give back no more than {_text(settled)}; take the rest off what is due.",
        )


def make_credit_note(
    invoice: Invoice,
    lines: Mapping[str, InvoiceLine],
    found: Credited,
    split: Split,
    *,
    id: str,
    reason: str,
    now: datetime,
    traceparent: str | None,
) -> CreditNote:
    assert invoice.seller is not None, "only what is issued is credited"
    assert invoice.number is not None, "what is issued has a number"
    return CreditNote(
        id=id,
        invoice_id=invoice.id,
        invoice_number=invoice.number,
        customer_id=invoice.customer_id,
        customer=invoice.customer,
        seller=invoice.seller,
        series=invoice.series,
        currency=invoice.currency,
        zone=invoice.zone,
        reason=reason,
        net=found.net,
        tax=found.tax,
        total=found.total,
        to_invoice=split.to_invoice,
        to_balance=split.to_balance,
        to_refund=split.to_refund,
        taxes=found.taxes,
        lines=tuple(
            _line(id, lines[part.line_id], part, ordinal) for ordinal, part in enumerate(found.lines, start=1)
        ),
        issued_at=now,
        created_at=now,
        clock_id=invoice.clock_id,
        traceparent=traceparent,
    )


def _line(note_id: str, line: InvoiceLine, part: CreditedLine, ordinal: int) -> CreditNoteLine:
    """A line that is credited whole keeps its quantity; of a part, or of a discounted line, it is one at that amount."""
    whole = part.amount == line.amount == part.paid
    sign = ONE if part.paid.amount_minor >= 0 else -ONE
    return CreditNoteLine(
        id=derived_id("crl", note_id, line.id),
        credit_note_id=note_id,
        invoice_line_id=line.id,
        ordinal=ordinal,
        description=line.description,
        quantity=line.quantity if whole else sign,
        unit_amount=line.unit_amount if whole else abs(part.paid.to_decimal()),
        amount=part.amount,
        paid=part.paid,
        net=part.net,
        tax_category=line.tax_category,
        tax_percent=line.tax_percent,
        tax_behavior=line.tax_behavior,
        service_start_on=line.service_start_on,
        service_end_on=line.service_end_on,
        tax_reason_code=line.tax_reason_code,
        tax_reason=line.tax_reason,
    )


def with_credit(invoice: Invoice, to_invoice: Money) -> Invoice:
    """The invoice with less that is due; one version further, so that nobody changes it unseen."""
    return replace(invoice, credited=invoice.credited + to_invoice, version=invoice.version + 1)


def _least(one: Money, other: Money) -> Money:
    """The lesser of both, and not below nothing."""
    return Money(max(min(one.amount_minor, other.amount_minor), 0), one.currency)


def _text(money: Money) -> str:
    return f"{money.to_decimal()} {money.currency}"

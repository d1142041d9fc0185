"""What becomes of an issued invoice: paid, by a payment or a deposit; void; given up. What it says never changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import Conflict
from libs.common.money import Money
from services.billing.domain.invoice import Invoice

# What may be the issue of another document at the same boundary stays below: the version of an agreement.
REISSUE = 1_000_000

# What money may come for.
PAYABLE = ("finalized", "uncollectible")


class InvoiceNotVoidable(Conflict):
    code = "invoice_not_voidable"
    title = "The invoice cannot be voided"


class InvoiceNotReissuable(Conflict):
    code = "invoice_not_reissuable"
    title = "The invoice cannot be issued again"


class InvoiceNotUncollectible(Conflict):
    code = "invoice_not_uncollectible"
    title = "The invoice cannot be written off"


@dataclass(frozen=True, slots=True)
class Received:
    """An invoice after money came for it. `beyond` is what was not due any more: it is owed to the customer."""

    invoice: Invoice
    beyond: Money


def with_payment(invoice: Invoice, amount: Money, *, now: datetime) -> Received:
    """The invoice with what was paid of it, `paid` when nothing is left to be.

    More than was due comes when the invoice was credited while the gateway was being asked, or from a payer who rounds
    up. What was given up is still owed: it is paid when somebody pays it after all.
    Raises: CurrencyMismatch.
    """
    due = invoice.due if invoice.status in PAYABLE else Money.zero(invoice.currency)
    taken = amount if (due - amount).amount_minor > 0 else due
    if not taken.amount_minor:
        return Received(invoice, amount)
    paid = replace(invoice, paid=invoice.paid + taken, version=invoice.version + 1)
    if paid.status == "uncollectible" and not paid.due.amount_minor:
        paid = replace(paid, status="paid", paid_at=now)
    return Received(settled(paid, now=now), amount - taken)


def with_payment_taken_off(invoice: Invoice, amount: Money) -> Invoice:
    """The invoice with less that is paid of it. One that had been paid is due again, in a round of its own."""
    assert (invoice.paid - amount).amount_minor >= 0, "no more is taken off than was paid"
    less = replace(invoice, paid=invoice.paid - amount, version=invoice.version + 1)
    if invoice.status != "paid":
        return less
    return replace(less, status="finalized", paid_at=None, reopened_count=invoice.reopened_count + 1)


def given_up_after_use(invoice: Invoice) -> Invoice:
    """A deposit whose payment was taken back after some of it was used: what is missing is a loss, until it is paid."""
    return replace(invoice, status="uncollectible")


def settled(invoice: Invoice, *, now: datetime) -> Invoice:
    """Paid, when nothing of it is due any more; in the version of the change that made it so."""
    if invoice.status != "finalized" or invoice.due.amount_minor:
        return invoice
    return replace(invoice, status="paid", paid_at=now)


def voided(invoice: Invoice, *, is_credited: bool, now: datetime) -> Invoice:
    """The invoice holds no longer. Its number stays taken.

    Raises: InvoiceNotVoidable.
    """
    if invoice.status not in ("finalized", "paid"):
        raise InvoiceNotVoidable(
            f"the invoice is {invoice.status}",
            remedy="Only what is issued, and neither paid with money nor credited, can be voided.",
        )
    if invoice.paid.amount_minor or is_credited:
        raise InvoiceNotVoidable(
            "something of it was paid or credited",
            remedy="Credit what is left of it: POST /v1/credit-notes.",
        )
    return replace(
        invoice, status="void", voided_at=now, paid_at=None, due_at=None, version=invoice.version + 1
    )


def written_off(invoice: Invoice) -> Invoice:
    """Nobody expects the rest any more. What is due stays what it was.

    Raises: InvoiceNotUncollectible.
    """
    if invoice.status != "finalized":
        raise InvoiceNotUncollectible(
            f"the invoice is {invoice.status}",
            remedy="Only an issued invoice that is not paid can be written off.",
        )
    if invoice.document_kind == "deposit":
        raise InvoiceNotUncollectible(
            "nothing is owed on a deposit that was never paid", remedy="Void the request instead."
        )
    return replace(invoice, status="uncollectible", due_at=None, version=invoice.version + 1)


def following_issue(invoice: Invoice) -> int:
    """The issue of the document that comes in its place. It counts up, or down from below zero, in steps of its own.

    Else a change that is told of later, whose issue is the version of its agreement, would find this document there.
    """
    return invoice.issue + REISSUE if invoice.issue > 0 else invoice.issue - REISSUE

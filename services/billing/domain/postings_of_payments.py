"""What money that came posts: when it came, as it is put on invoices and balances, and when it is gone again."""

from __future__ import annotations

from datetime import datetime

from libs.common.money import Money
from services.billing.domain.invoice import Invoice
from services.billing.domain.ledger_entry import Account, Posting, moment, postings_of
from services.billing.domain.payment_received import PaymentAllocation
from services.billing.domain.postings_of_invoices import owed_on


def settled_by(invoice: Invoice) -> Account:
    """The account that money for the invoice settles, before it does: of one that was given up, nothing is receivable."""
    return "bad_debt" if invoice.status == "uncollectible" else owed_on(invoice.document_kind)


def postings_for_receipt(
    payment_id: str, amount: Money, *, at: datetime, zone: str | None
) -> tuple[Posting, ...]:
    """Debit cash; credit what came and pays nothing yet. What a gateway collected is one set with what it pays."""
    return postings_of(
        f"payment:{payment_id}:received",
        [("cash", amount.amount_minor), ("unapplied_payments", -amount.amount_minor)],
        amount.currency,
        moment(at, zone),
        source_id=payment_id,
    )


def postings_for_allocation(
    allocation: PaymentAllocation, *, settles: Account, zone: str | None
) -> tuple[Posting, ...]:
    """Debit what was unapplied; credit what it pays, or is owed to the customer. The reverse where it is taken back."""
    minor = allocation.amount.amount_minor
    return postings_of(
        f"allocation:{allocation.id}:{'made' if minor > 0 else 'taken_back'}",
        [("unapplied_payments", minor), (settles, -minor)],
        allocation.amount.currency,
        moment(allocation.made_at, zone),
        invoice_id=allocation.invoice_id,
        source_id=allocation.payment_id,
    )


def postings_for_payment_restored(
    payment_id: str, amount: Money, *, ordinal: int, at: datetime, zone: str | None
) -> tuple[Posting, ...]:
    """Debit cash, credit what pays nothing yet: money that was gone is back."""
    return postings_of(
        f"payment:{payment_id}:restored:{ordinal}",
        [("cash", amount.amount_minor), ("unapplied_payments", -amount.amount_minor)],
        amount.currency,
        moment(at, zone),
        source_id=payment_id,
    )


def postings_for_payment_reversed(
    payment_id: str, amount: Money, *, ordinal: int, at: datetime, zone: str | None
) -> tuple[Posting, ...]:
    """Debit what was unapplied, credit cash. `ordinal` is the payment's version: a part may be gone first."""
    return postings_of(
        f"payment:{payment_id}:reversed:{ordinal}",
        [("unapplied_payments", amount.amount_minor), ("cash", -amount.amount_minor)],
        amount.currency,
        moment(at, zone),
        source_id=payment_id,
    )

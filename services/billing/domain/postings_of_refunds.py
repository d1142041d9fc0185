"""What refunds post: when a balance is to be given back, when the money goes or returns, when it stays after all."""

from __future__ import annotations

from datetime import datetime

from libs.common.money import Money
from services.billing.domain.ledger_entry import Account, Posting, moment, postings_of
from services.billing.domain.refund import Refund


def postings_for_balance_refund(refund: Refund, *, at: datetime) -> tuple[Posting, ...]:
    """Debit what is owed to the customer, credit what is to be given back as money."""
    return _posted(refund, "requested", "customer_credit", "refunds_payable", at, None)


def postings_for_refund(refund: Refund, *, at: datetime, zone: str | None) -> tuple[Posting, ...]:
    """Debit what was to be given back, credit cash. A further try, after the money came back, is a fact of its own."""
    fact = "paid" if refund.try_number == 1 else f"paid:{refund.try_number}"
    return _posted(refund, fact, "refunds_payable", "cash", at, zone)


def postings_for_refund_returned(refund: Refund, *, at: datetime, zone: str | None) -> tuple[Posting, ...]:
    """Debit cash, credit what is to be given back: no bank would take it. `refund` as it was when it went."""
    return _posted(refund, f"returned:{refund.try_number}", "cash", "refunds_payable", at, zone)


def postings_for_refund_canceled(refund: Refund, *, at: datetime, zone: str | None) -> tuple[Posting, ...]:
    """Debit what was to be given back, credit what is owed to the customer: the balance has it."""
    return _posted(refund, "canceled", "refunds_payable", "customer_credit", at, zone)


def _posted(
    refund: Refund, fact: str, debit: Account, credit: Account, at: datetime, zone: str | None
) -> tuple[Posting, ...]:
    amount: Money = refund.amount
    return postings_of(
        f"refund:{refund.id}:{fact}",
        [(debit, amount.amount_minor), (credit, -amount.amount_minor)],
        amount.currency,
        moment(at, zone),
        invoice_id=refund.invoice_id,
        source_id=refund.id,
    )

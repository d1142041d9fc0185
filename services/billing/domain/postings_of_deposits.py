"""What a deposit posts. It is never income: what is asked for posts nothing, what is held is owed to the customer.

A deposit that is paid by invoice posts as any payment does, on `deposit_liability` (`owed_on`).
"""

from __future__ import annotations

from datetime import datetime

from libs.common.money import Money
from services.billing.domain.ledger_entry import Account, Posting, moment, postings_of


def postings_for_deposit_captured(
    deposit_id: str, amount: Money, *, at: datetime, zone: str | None
) -> tuple[Posting, ...]:
    """Debit cash, credit the deposit: what was only held on a card is taken."""
    return _posted(deposit_id, "captured", "cash", "deposit_liability", amount, at, zone)


def postings_for_deposit_set_off(
    deposit_id: str, invoice_id: str, amount: Money, *, ordinal: int, at: datetime, zone: str | None
) -> tuple[Posting, ...]:
    """Debit the deposit, credit what the customer owed."""
    fact = f"set_off:{ordinal}"
    return _posted(deposit_id, fact, "deposit_liability", "accounts_receivable", amount, at, zone, invoice_id)


def postings_for_deposit_released(
    deposit_id: str, amount: Money, *, ordinal: int, at: datetime, zone: str | None
) -> tuple[Posting, ...]:
    """Debit the deposit, credit what is to be given back to the customer."""
    fact = f"released:{ordinal}"
    return _posted(deposit_id, fact, "deposit_liability", "refunds_payable", amount, at, zone)


def _posted(
    deposit_id: str,
    fact: str,
    debit: Account,
    credit: Account,
    amount: Money,
    at: datetime,
    zone: str | None,
    invoice_id: str | None = None,
) -> tuple[Posting, ...]:
    return postings_of(
        f"deposit:{deposit_id}:{fact}",
        [(debit, amount.amount_minor), (credit, -amount.amount_minor)],
        amount.currency,
        moment(at, zone),
        invoice_id=invoice_id,
        source_id=deposit_id,
    )

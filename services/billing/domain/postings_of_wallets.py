"""What prepaid credits post: what was paid for them is owed to the customer until they are used, expire or are void.

Credits that an invoice sells are credited to `prepaid_credits` by that document (`income` of its line). Nobody owes
anything for promotional ones: they lessen what is earned when they are used.
"""

from __future__ import annotations

from datetime import datetime

from libs.common.money import Money
from services.billing.domain.ledger_entry import Posting, moment, postings_of
from services.billing.domain.wallet import Movement


def postings_for_money_used(
    invoice_id: str, applied: Money, cost: Money, *, at: datetime, zone: str, fact: str = "drawn"
) -> tuple[Posting, ...]:
    """Debit what was paid for the credits, and for the rest what lessens revenue; credit what the customer owed.

    Given back, both amounts are below zero, and `fact` says so.
    """
    paid = cost.amount_minor
    return postings_of(
        f"credits:{invoice_id}:{fact}",
        [
            ("prepaid_credits", paid),
            ("promotional_credits", applied.amount_minor - paid),
            ("accounts_receivable", -applied.amount_minor),
        ],
        applied.currency,
        moment(at, zone),
        invoice_id=invoice_id,
    )


def postings_for_units_used(
    invoice_id: str, cost: Money, *, at: datetime, zone: str, fact: str = "units"
) -> tuple[Posting, ...]:
    """Debit what was paid for the units, credit revenue: what they covered is sold for that. Below zero: given back."""
    return postings_of(
        f"credits:{invoice_id}:{fact}",
        [("prepaid_credits", cost.amount_minor), ("revenue", -cost.amount_minor)],
        cost.currency,
        moment(at, zone),
        invoice_id=invoice_id,
    )


def postings_for_purchase(movement: Movement, *, at: datetime) -> tuple[Posting, ...]:
    """Debit cash, credit what is owed: credits that were paid for elsewhere, and are granted by hand."""
    return postings_of(
        f"wallet:{movement.entries[0].id}:granted",
        [("cash", movement.cost.amount_minor), ("prepaid_credits", -movement.cost.amount_minor)],
        movement.cost.currency,
        moment(at),
        source_id=movement.entries[0].id,
    )


def postings_for_purchase_voided(movement: Movement, *, at: datetime) -> tuple[Posting, ...]:
    """The reverse, of what is left of them."""
    minor = -movement.cost.amount_minor
    return postings_of(
        f"wallet:{movement.entries[0].id}:voided",
        [("prepaid_credits", minor), ("cash", -minor)],
        movement.cost.currency,
        moment(at),
        source_id=movement.entries[0].id,
    )


def postings_for_credits_to_balance(
    balance_entry_id: str, amount: Money, *, at: datetime
) -> tuple[Posting, ...]:
    """Debit prepaid credits that are taken back, credit what is owed to the customer instead."""
    return postings_of(
        f"balance:{balance_entry_id}:adjusted",
        [("prepaid_credits", amount.amount_minor), ("customer_credit", -amount.amount_minor)],
        amount.currency,
        moment(at),
        balance_entry_id=balance_entry_id,
    )


def postings_for_expiry(movement: Movement, *, at: datetime) -> tuple[Posting, ...]:
    """Debit what is owed no more, credit breakage: what was paid for what nobody used."""
    minor = -movement.cost.amount_minor
    return postings_of(
        f"wallet:{movement.entries[0].id}:expired",
        [("prepaid_credits", minor), ("breakage", -minor)],
        movement.cost.currency,
        moment(at),
        source_id=movement.entries[0].id,
    )

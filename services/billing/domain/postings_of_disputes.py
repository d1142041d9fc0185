"""What a dispute posts beside the money that it moves: what the bank charges for it."""

from __future__ import annotations

from datetime import datetime

from services.billing.domain.dispute import Dispute
from services.billing.domain.ledger_entry import Posting, moment, postings_of


def postings_for_dispute_fee(dispute: Dispute, *, at: datetime) -> tuple[Posting, ...]:
    """Debit the fee as an expense, credit cash: it stays gone, whatever becomes of the dispute. No fee, no set."""
    if dispute.fee is None:
        return ()
    minor = dispute.fee.amount_minor
    return postings_of(
        f"dispute:{dispute.id}:fee",
        [("dispute_fees", minor), ("cash", -minor)],
        dispute.fee.currency,
        moment(at),
        source_id=dispute.id,
    )

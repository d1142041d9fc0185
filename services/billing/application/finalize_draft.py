"""A person finalizes a draft at once, whatever its grace."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from libs.common.errors import Conflict
from services.billing.application.edit_draft import CheckVersion, draft_for_update
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.ports import UnitOfWork
from services.billing.domain.invoice import Invoice

_REMEDIES = {
    "usage": "Wait until the usage of its period is known.",
    "seller": "Add a seller: he issues the invoices.",
    "gathering": "Wait until the others that it gathers are there, or until its grace is over.",
    "billing_run": "Approve the billing run.",
}


class InvoiceNotComplete(Conflict):
    code = "invoice_not_complete"
    title = "The draft is not complete yet"


async def finalize_draft(
    invoice_id: str, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> Invoice:
    """`now` is the invoice's business now. A draft on which nothing is owed is skipped.

    Emits: InvoiceFinalized, InvoicePaid, CustomerBalanceChanged.
    Raises: InvoiceNotFound, InvoiceNotDraft, InvoiceNotComplete, and what `check_version` raises.
    """
    draft = await draft_for_update(invoice_id, uow=uow, check_version=check_version)
    if draft.awaits_window:
        raise _waits_for("usage")
    if draft.held_for in ("gathering", "billing_run"):
        raise _waits_for(draft.held_for)
    outcome = await finalize_if_complete(replace(draft, held_for=None, draft_until=now), now=now, uow=uow)
    if outcome.status == "draft":
        raise _waits_for(outcome.held_for or "seller")
    return outcome


def _waits_for(what: str) -> InvoiceNotComplete:
    return InvoiceNotComplete(f"the draft waits for: {what}", remedy=_REMEDIES[what], waits_for=what)

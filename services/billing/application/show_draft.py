"""A draft as it would be if it were issued now: with its coupons, its tax and whoever would issue it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.billing.application.finalize_invoice import settle_draft
from services.billing.application.ports import UnitOfWork
from services.billing.application.queries import InvoiceView
from services.billing.domain.invoice import Invoice, totalled


async def show_draft(draft: Invoice, *, now: datetime, uow: UnitOfWork) -> InvoiceView:
    """`now` is the draft's business now. Nothing is written: balances and prepaid money are not drawn on."""
    known = await settle_draft(draft, now=now, uow=uow)
    shown = replace(totalled(draft, known.settled), due_at=draft.due_at, version=draft.version)
    return InvoiceView(shown, known.settled.lines)

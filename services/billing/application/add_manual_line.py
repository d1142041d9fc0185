"""A person puts a line on a draft."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from libs.common.ids import new_id
from services.billing.application.edit_draft import CheckVersion, draft_for_update, save_edited
from services.billing.application.ports import UnitOfWork
from services.billing.domain.invoice import Invoice
from services.billing.domain.manual_line import LinePurpose, ManualLine

MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class NewManualLine:
    """Each field is the line's of the same name."""

    description: str
    quantity: Decimal
    unit_amount: Decimal
    tax_category: str | None = None
    tax_behavior: Literal["exclusive", "inclusive"] = "exclusive"
    purpose: LinePurpose = "sale"
    product_id: str | None = None
    service_start_on: date | None = None
    service_end_on: date | None = None


async def put_line_on(draft: Invoice, new: NewManualLine, *, now: datetime, uow: UnitOfWork) -> ManualLine:
    """The line on the draft, which is locked, about the subscription that the draft is about.

    No two are put on a draft at one moment, though a test clock may stand: lines stand in the order of their moments.
    """
    earlier = await uow.manual_lines.of_invoice(draft.id)
    line = ManualLine(
        **{name: getattr(new, name) for name in NewManualLine.__slots__},
        id=new_id("mln"),
        invoice_id=draft.id,
        currency=draft.currency,
        subscription_id=draft.subscription_id,
        created_at=max([now, *(known.created_at + MOMENT for known in earlier)]),
    )
    uow.manual_lines.add(line)
    return line


async def add_manual_line(
    new: NewManualLine, invoice_id: str, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> ManualLine:
    """`now` is the invoice's business now.

    Raises: InvoiceNotFound, InvoiceNotDraft, what `check_version` raises, and what `save_edited` does.
    """
    draft = await draft_for_update(invoice_id, uow=uow, check_version=check_version)
    line = await put_line_on(draft, new, now=now, uow=uow)
    await save_edited(draft, action="invoice.line_added", now=now, uow=uow)
    return line

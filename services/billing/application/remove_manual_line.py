"""A person takes a line off a draft that somebody put on it."""

from __future__ import annotations

from datetime import datetime

from services.billing.application.change_manual_line import manual_line_of
from services.billing.application.edit_draft import CheckVersion, draft_for_update, save_edited
from services.billing.application.ports import UnitOfWork


async def remove_manual_line(
    invoice_id: str, line_id: str, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> None:
    """`check_version` is about the invoice.

    Raises: InvoiceNotFound, InvoiceNotDraft, ManualLineNotFound, what `check_version` raises and what `save_edited` does.
    """
    line = await manual_line_of(invoice_id, line_id, uow=uow)
    draft = await draft_for_update(invoice_id, uow=uow, check_version=check_version)
    await uow.manual_lines.remove(line)
    await save_edited(draft, action="invoice.line_removed", now=now, uow=uow)

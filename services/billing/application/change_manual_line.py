"""A person changes a line that somebody put on a draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.billing.application.edit_draft import CheckVersion, draft_for_update, save_edited
from services.billing.application.ports import UnitOfWork
from services.billing.domain.manual_line import ManualLine, ManualLineNotFound


@dataclass(frozen=True, slots=True)
class ChangeManualLine:
    """`changes` are fields of the line by their names; what is not named stays."""

    invoice_id: str
    line_id: str
    changes: Mapping[str, Any]


async def change_manual_line(
    command: ChangeManualLine, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> ManualLine:
    """`check_version` is about the invoice. The same again changes nothing.

    Raises: InvoiceNotFound, InvoiceNotDraft, ManualLineNotFound, what `check_version` raises and what `save_edited` does.
    """
    line = await manual_line_of(command.invoice_id, command.line_id, uow=uow)
    draft = await draft_for_update(command.invoice_id, uow=uow, check_version=check_version)
    changed = replace(line, **command.changes)
    if changed == line:
        return line
    changed = replace(changed, version=line.version + 1)
    uow.manual_lines.save(changed)
    await save_edited(draft, action="invoice.line_changed", now=now, uow=uow)
    return changed


async def manual_line_of(invoice_id: str, line_id: str, *, uow: UnitOfWork) -> ManualLine:
    """A line of this very invoice, both locked. Raises: InvoiceNotFound, ManualLineNotFound."""
    invoice = await uow.invoices.get_for_update(invoice_id)
    line = await uow.manual_lines.get_for_update(line_id)
    if line.invoice_id != invoice.id:
        raise ManualLineNotFound("the invoice has no such manual line")
    return line

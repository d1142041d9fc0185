"""A person changes what stands on a draft besides its lines: notes, references, when it is to be paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.billing.application.edit_draft import CheckVersion, draft_for_update, save_edited
from services.billing.application.ports import UnitOfWork
from services.billing.domain.invoice import Invoice


@dataclass(frozen=True, slots=True)
class ChangeDraft:
    """`changes` are fields of the invoice by their names; what is not named stays."""

    invoice_id: str
    changes: Mapping[str, Any]


async def change_draft(
    command: ChangeDraft, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> Invoice:
    """The same again changes nothing.

    Raises: InvoiceNotFound, InvoiceNotDraft, and what `check_version` raises for the version that was locked.
    """
    draft = await draft_for_update(command.invoice_id, uow=uow, check_version=check_version)
    changed = replace(draft, **command.changes)
    if changed == draft:
        return draft
    return await save_edited(changed, action="invoice.changed", now=now, uow=uow)

"""What every change by a person to a draft has in common: it is a draft, its lines go together, its totals follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from libs.common.errors import Conflict, RuleViolation
from services.billing.application.finalize_invoice import settle_draft
from services.billing.application.ports import UnitOfWork
from services.billing.domain.invoice import Invoice, totalled
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.tax_treatment import is_outside_scope_word

MANUAL_LINES_MAX = 500

CheckVersion = Callable[[int], None]


class InvoiceNotDraft(Conflict):
    code = "invoice_not_draft"
    title = "The invoice is no draft"


class TooManyManualLines(RuleViolation):
    code = "too_many_manual_lines"
    title = "Too many manual lines"


class OutsideScopeStandsAlone(RuleViolation):
    """Source: R6, EN 16931 BR-O-11."""

    code = "outside_scope_stands_alone"
    title = "What is outside the scope of tax stands on a document of its own"


class OneOffBelowZero(RuleViolation):
    code = "one_off_below_zero"
    title = "An invoice cannot ask for less than nothing"


async def draft_for_update(invoice_id: str, *, uow: UnitOfWork, check_version: CheckVersion) -> Invoice:
    """The draft, locked: whoever would finalize it meanwhile waits, and then finds it changed.

    Raises: InvoiceNotFound, InvoiceNotDraft, and what `check_version` raises for the version that was locked.
    """
    invoice = await uow.invoices.get_for_update(invoice_id)
    check_version(invoice.version)
    if invoice.status != "draft":
        raise InvoiceNotDraft(
            "only a draft can be changed",
            remedy="Correct an issued invoice by a credit note, or void it and issue it again.",
            status=invoice.status,
        )
    return invoice


async def save_edited(draft: Invoice, *, action: str, now: datetime, uow: UnitOfWork) -> Invoice:
    """The draft with what its lines come to now. When it is finalized stays as it was.

    Raises: TooManyManualLines, OutsideScopeStandsAlone, OneOffBelowZero, AmountTooLarge.
    """
    if len(await uow.manual_lines.of_invoice(draft.id)) > MANUAL_LINES_MAX:
        raise TooManyManualLines(f"a document holds at most {MANUAL_LINES_MAX} manual lines")
    known = await settle_draft(draft, now=now, uow=uow)
    _check_scope(known.settled.lines)
    if draft.document_kind == "one_off" and known.settled.subtotal.amount_minor < 0:
        raise OneOffBelowZero(
            "the credits are more than the charges",
            remedy="Issue a credit note for what was billed, or adjust the customer's balance.",
        )
    edited = replace(totalled(draft, known.settled), due_at=draft.due_at)
    uow.invoices.save(edited)
    uow.record(action, edited.id, edited.version)
    return edited


def _check_scope(lines: tuple[InvoiceLine, ...]) -> None:
    outside = {is_outside_scope_word(line.product_tax_category) for line in lines}
    if len(outside) > 1:
        raise OutsideScopeStandsAlone(
            "a line outside the scope of tax stands with others on no document",
            pointer="/tax_category",
            remedy="Make a document of its own for it.",
        )

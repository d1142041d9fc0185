"""The documents of a billing run: what each would come to, and then each finalized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.billing.application.finalize_invoice import finalize_if_complete, settle_draft
from services.billing.application.ports import UnitOfWork
from services.billing.domain.billing_run import RunDocument, outcome
from services.billing.domain.invoice import Invoice


async def settle_run_documents(
    documents: Sequence[RunDocument], *, now: Mapping[str, datetime], system_now: datetime, uow: UnitOfWork
) -> None:
    """Count those that are to be counted, finalize those that are to be finalized. Their drafts are loaded and locked.

    `now` is the business now of each draft, by its id. A document that has failed several times is given up by this run,
    with the reason: it waits for the next one.
    Emits: what finalizing an invoice emits.
    """
    for document in documents:
        uow.billing_runs.touch(document.run_id, now=system_now)
        if document.has_failed_often:  # also where it cannot even be read
            uow.billing_runs.save_document(outcome(document, "failed", reason=document.last_error))
            continue
        draft = await uow.invoices.find_for_update(document.invoice_id)
        at = now.get(document.invoice_id, system_now)
        if draft is None or not _is_ours(draft, document):
            settled = outcome(document, "left", reason=None if draft is None else draft.status)
        elif document.state == "counting":
            settled = await _count(document, draft, now=at, uow=uow)
        else:
            settled = await _finalize(document, draft, now=at, uow=uow)
        uow.billing_runs.save_document(settled)


def _is_ours(draft: Invoice, document: RunDocument) -> bool:
    """Whether it still is a draft that the run may finalize: a person may have taken it meanwhile."""
    if draft.status != "draft" or draft.awaits_window or document.state not in ("counting", "finalizing"):
        return False
    return draft.held_for in (None, "billing_run") if document.is_dry else draft.held_for == "billing_run"


async def _count(document: RunDocument, draft: Invoice, *, now: datetime, uow: UnitOfWork) -> RunDocument:
    known = await settle_draft(draft, now=now, uow=uow)
    return outcome(
        document,
        "counted",
        total_minor=known.settled.total.amount_minor,
        line_count=len(known.settled.lines),
    )


async def _finalize(document: RunDocument, draft: Invoice, *, now: datetime, uow: UnitOfWork) -> RunDocument:
    free = replace(draft, held_for=None, draft_until=None)
    invoice = await finalize_if_complete(free, now=now, uow=uow, by_run=True)
    total = invoice.total.amount_minor
    if invoice.status == "draft":
        return outcome(document, "left", total_minor=total, reason=invoice.status_reason)
    if invoice.status == "skipped":
        return outcome(document, "skipped", total_minor=total, reason=invoice.status_reason)
    return outcome(document, "finalized", total_minor=total)

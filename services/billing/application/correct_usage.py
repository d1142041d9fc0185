"""Usage that came, or was taken back, after its window had closed → the difference to what was charged for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.ports import UnitOfWork
from services.billing.application.reconcile_charges import Documents
from services.billing.application.usage_corrections import (
    has_closed,
    missing_commitments,
    missing_usage_charges,
    window_of,
)
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import Charge, UsageCorrection, UsageOfPeriod
from services.billing.domain.invoice import Invoice, invoice_id, open_draft


@dataclass(frozen=True, slots=True)
class CorrectUsage:
    """`now` is the business now of the subscription as it was corrected."""

    correction: UsageCorrection
    now: datetime


async def correct_usage(command: CorrectUsage, *, uow: UnitOfWork) -> None:
    """Keep the correction, and charge or give back what has changed, in the way that the plan says.

    Until the window is charged for, nothing more is done: it is charged for with what has come by then. After that, the
    difference stands on the draft that bills the window, while there is one; else it waits for the next document of the
    subscription (`next_invoice`), stands on one of its own at once (`note_at_once`, and for whichever policy when no
    next one comes), or on one that a person finalizes (`draft_only`). A repeat, and what comes too late to be billed,
    change nothing.
    Emits: InvoiceFinalized, InvoicePaid, CustomerBalanceChanged.
    Raises: UsageOfUnknownItem.
    """
    correction, now = command.correction, command.now
    agreement = await uow.agreements.find_for_update(correction.subscription_id)
    is_new = await uow.usage_windows.add_correction(correction)
    if agreement is None or not is_new or not correction.is_billable:
        return
    usage = await uow.usage_windows.find(correction.subscription_id, correction.period_index)
    if usage is None or not await _was_billed(agreement, usage, uow=uow):
        return
    charges = await missing_usage_charges(agreement, usage, is_first=False, now=now, uow=uow)
    charges += await missing_commitments(agreement, charges, now=now, uow=uow)
    left = await _put_on_drafts(charges, agreement, now=now, uow=uow)
    if not left:
        return
    ends_on = await _last_document(agreement, uow=uow)
    if ends_on is not None and ends_on.status == "draft":
        await _add_to(ends_on, left, now=now, uow=uow)
    elif correction.policy == "next_invoice" and ends_on is None:
        for charge in left:
            uow.charges.add(charge)
    else:
        await _bill_at_once(agreement, usage, correction, left, now=now, uow=uow)


async def _was_billed(agreement: Agreement, usage: UsageOfPeriod, *, uow: UnitOfWork) -> bool:
    """Whether a document has asked for the window: also one that found nothing in it to charge for."""
    if has_closed((await window_of(agreement, usage, uow=uow)).recorded):
        return True
    document = await uow.invoices.find_for_update(invoice_id(agreement.id, usage.window_end))
    return document is not None and not document.awaits_window


async def _put_on_drafts(
    charges: Sequence[Charge], agreement: Agreement, *, now: datetime, uow: UnitOfWork
) -> list[Charge]:
    """Each beside what it corrects, where that was not issued yet; returns the others."""
    drafts: dict[int, Invoice | None] = {}
    put: dict[str, list[Charge]] = {}
    left: list[Charge] = []
    for charge in charges:
        index = charge.period_index
        if index not in drafts:
            drafts[index] = await _draft_of(agreement, index, uow=uow)
        draft = drafts[index]
        if draft is None or draft.currency != charge.amount.currency:
            left.append(charge)
        else:
            put.setdefault(draft.id, []).append(charge)
    for draft in {draft.id: draft for draft in drafts.values() if draft is not None}.values():
        if draft.id in put:
            await _add_to(draft, put[draft.id], now=now, uow=uow)
    return left


async def _draft_of(agreement: Agreement, period_index: int, *, uow: UnitOfWork) -> Invoice | None:
    """The draft on which the newest of the charges for the period's usage stands, if it is one."""
    charged = await uow.charges.usage_of_period(agreement.id, period_index)
    ids = [charge.invoice_id for charge in sorted(charged, key=lambda charge: -charge.revision)]
    for id in dict.fromkeys(id for id in ids if id is not None):
        document = await uow.invoices.find_for_update(id)
        if document is not None and document.status == "draft" and document.document_kind != "interim":
            return document
    return None


async def _add_to(draft: Invoice, charges: Sequence[Charge], *, now: datetime, uow: UnitOfWork) -> None:
    for charge in charges:
        uow.charges.add(replace(charge, invoice_id=draft.id))
    if draft.held_for in (None, "person"):  # what is held for others is taken up by them
        await finalize_if_complete(draft, now=max(now, draft.created_at), uow=uow)


async def _last_document(agreement: Agreement, *, uow: UnitOfWork) -> Invoice | None:
    """That of the agreement's end, once it has been opened: what comes after it has no next document to wait for."""
    if agreement.ends_at is None:
        return None
    document = await uow.invoices.find_for_update(invoice_id(agreement.id, agreement.ends_at))
    while document is not None and document.gathered_into is not None:
        document = await uow.invoices.find_for_update(document.gathered_into)
    return document


async def _bill_at_once(
    agreement: Agreement,
    usage: UsageOfPeriod,
    correction: UsageCorrection,
    charges: Sequence[Charge],
    *,
    now: datetime,
    uow: UnitOfWork,
) -> None:
    """A document of its own, whose identity is the window's end and the correction's revision."""
    draft = open_draft(
        replace(agreement, currency=charges[0].amount.currency),
        boundary_at=usage.window_end,
        period_index=usage.period_index + 1,
        awaits_window=False,
        traceparent=current_traceparent(),
        now=now,
        document_kind="correction",
        issue=correction.revision,
    )
    if correction.policy == "draft_only":
        draft = replace(draft, held_for="person")
    documents = Documents(agreement, draft, now)
    documents.open(draft, uow=uow)
    for charge in charges:
        await documents.put(charge, uow=uow)
    await documents.finalize(now=now, uow=uow)

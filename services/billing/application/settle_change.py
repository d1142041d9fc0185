"""A change inside a period: what it costs or gives back, at once on a document of its own, or on the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application.ports import UnitOfWork
from services.billing.application.reconcile_charges import (
    Documents,
    keep_newest_agreement,
    keep_newest_terms,
    missing_fees,
    put_on,
    settle_period,
    terms_to_settle,
    with_pools_before,
)
from services.billing.domain.agreement import Agreement, reaching
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import Invoice, invoice_id, open_draft
from services.billing.domain.terms import Fee, PeriodTerms


@dataclass(frozen=True, slots=True)
class SettleChange:
    """`settles_at` is None where the next boundary's document bills the change.

    `begins_at` is told of an agreement that is still to begin; one that `is_over` reaches no boundary any more.
    """

    agreement: Agreement
    terms: tuple[PeriodTerms, ...]
    fees: tuple[Fee, ...]
    settles_at: datetime | None
    occurred_at: datetime
    begins_at: datetime | None = None
    is_over: bool = False


async def settle_change(command: SettleChange, *, uow: UnitOfWork) -> Invoice | None:
    """Keep what is agreed on now; where it is settled at once, charge the difference to what was charged before.

    The document's identity is the instant and the version of the event, so that a repeat finds it.
    Emits: InvoiceFinalized.
    """
    at, now = command.settles_at, command.occurred_at
    agreement = reaching(command.agreement, await _next_boundary(command, uow=uow))
    is_lasting = await keep_newest_agreement(agreement, uow=uow)
    await keep_newest_terms(command.terms, uow=uow)
    if at is None:
        for fee in await missing_fees(agreement, command.fees, now=now, uow=uow):
            uow.charges.add(fee)
        return None
    issue = agreement.version
    known = await uow.invoices.find_for_update(invoice_id(agreement.id, at, "change", issue))
    if known is not None:
        return known
    told = await terms_to_settle(agreement, [terms.period.index for terms in command.terms], uow=uow)
    begun = [terms for terms in told if terms.period.start <= at]
    draft = open_draft(
        agreement,
        boundary_at=at,
        period_index=begun[-1].period.index if begun else 0,
        awaits_window=False,
        traceparent=current_traceparent(),
        now=now,
        document_kind="change",
        issue=issue,
    )
    documents = Documents(agreement, draft, now)
    documents.open(draft, uow=uow)
    charges: list[Charge] = []
    for terms in begun:
        charges += await settle_period(
            agreement,
            terms,
            until=at,
            is_known=terms.period.end <= at,
            now=now,
            uow=uow,
        )
    charges = await with_pools_before(agreement, begun, charges, is_lasting=is_lasting, now=now, uow=uow)
    await put_on(documents, charges, fees=command.fees, uow=uow)
    return await documents.finalize(now=now, uow=uow)


async def _next_boundary(command: SettleChange, *, uow: UnitOfWork) -> datetime | None:
    """A change begins no period: the boundary ahead is the one that was told of before."""
    if command.is_over or command.begins_at is not None:
        return command.begins_at
    known = await uow.agreements.find_for_update(command.agreement.id)
    return None if known is None else known.next_boundary_at

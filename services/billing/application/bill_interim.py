"""Usage of a period under way that has come to a spend threshold → an interim invoice, at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from libs.common.telemetry import current_traceparent
from services.billing.application.billing_run_ports import UsageSoFar
from services.billing.application.ports import UnitOfWork
from services.billing.application.reconcile_charges import Documents
from services.billing.application.usage_corrections import earlier_usage
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import Charge, UsageOfPeriod
from services.billing.domain.invoice import Invoice, open_draft
from services.billing.domain.spend_threshold import is_reached, looked_at, next_look
from services.billing.domain.usage_charges import is_billed
from services.billing.domain.usage_difference import usage_difference


@dataclass(frozen=True, slots=True)
class BillInterim:
    """What metering told of the windows under way; `now` is the agreement's business now, `every` the wall's pace."""

    subscription_id: str
    windows: Sequence[UsageSoFar]
    now: datetime
    every: timedelta


async def bill_interim(command: BillInterim, *, uow: UnitOfWork) -> Invoice | None:
    """Charge what the usage so far comes to, less what was charged for it before, if that has come to the threshold.

    The agreement is locked and what is recorded is read under that lock: of two who were told the same usage, the second
    finds nothing left to charge; who was told less than was charged meanwhile finds less than nothing, and leaves that to
    the window's close, which charges or gives back the rest. A window that has closed by now is billed already.
    Emits: InvoiceFinalized.
    Raises: UsageOfUnknownItem.
    """
    agreement = await uow.agreements.find_for_update(command.subscription_id)
    threshold = await uow.spend_thresholds.find_for_update(command.subscription_id)
    if threshold is None or threshold.amount is None:
        return None
    invoice: Invoice | None = None
    next_at = None
    if agreement is not None and agreement.next_boundary_at is not None:
        next_at = next_look(threshold, zone=agreement.zone, now=command.now, every=command.every)
        for window in command.windows:
            charges = await _not_charged(agreement, window, now=command.now, uow=uow)
            if is_reached(threshold.amount, [charge.amount for charge in charges]):
                invoice = await _issue(agreement, charges, window, now=command.now, uow=uow)
    uow.spend_thresholds.save(looked_at(threshold, next_at=next_at, now=command.now))
    await uow.spend_thresholds.unclaim(threshold.id)
    return invoice


async def _not_charged(
    agreement: Agreement, window: UsageSoFar, *, now: datetime, uow: UnitOfWork
) -> list[Charge]:
    if await uow.usage_windows.find(agreement.id, window.period_index) is not None:
        return []
    usage = UsageOfPeriod(
        window_id=window.window_id,
        subscription_id=agreement.id,
        period_index=window.period_index,
        window_start=window.window_start,
        window_end=min(window.counted_until, window.window_end),
        closed_at=now,
        totals=window.totals,
    )
    terms = await uow.period_terms.find(agreement.id, window.period_index)
    if usage.window_end <= usage.window_start or not is_billed(agreement, terms, usage):
        return []
    return usage_difference(
        agreement,
        usage,
        await uow.charges.usage_of_period(agreement.id, window.period_index),
        now=now,
        terms=terms,
        earlier=await earlier_usage(agreement, usage, terms, uow=uow),
        is_open=True,
    )


async def _issue(
    agreement: Agreement, charges: Sequence[Charge], window: UsageSoFar, *, now: datetime, uow: UnitOfWork
) -> Invoice:
    """Its issue counts what was charged for the period before, so that no two of one instant are the same document."""
    recorded = await uow.charges.usage_of_period(agreement.id, window.period_index)
    draft = open_draft(
        replace(agreement, currency=charges[0].amount.currency),
        boundary_at=now,
        period_index=window.period_index,
        awaits_window=False,
        traceparent=current_traceparent(),
        now=now,
        document_kind="interim",
        issue=len(recorded) + 1,
    )
    documents = Documents(agreement, draft, now)
    documents.open(draft, uow=uow)
    for charge in charges:
        await documents.put(charge, uow=uow)
    return await documents.finalize(now=now, uow=uow)

"""Dunnings whose next step is due: taken many at a time, each in the trace of the renewal that its invoice bills."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry import span
from services.billing.adapters.dunning_rows import dunning
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.dun_invoice import advance_dunning

LOOK_AGAIN = timedelta(seconds=1)


def dunning_job(units: UnitsOfWork[BillingUnitOfWork], clock: Clock) -> DueJob[BillingUnitOfWork]:
    return DueJob(
        "advance_dunning", service="billing", table=dunning, units=units, clock=clock, work=_work(clock)
    )


def _work(clock: Clock) -> Callable[[Sequence[DueRow], BillingUnitOfWork], Awaitable[None]]:
    async def advance_due(due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
        """An invoice that somebody else holds is looked at again in a moment: he may be writing down its payment."""
        await uow.dunnings.load_for_update(row.id for row in due)
        found = {row.id: await uow.dunnings.find_for_update(row.id) for row in due}
        invoices = {id: known.invoice_id for id, known in found.items() if known is not None}
        free = await uow.dunnings.lock_free_invoices(invoices.values())
        await uow.invoices.load_for_update(free)
        for row in due:
            known = found[row.id]
            if known is not None and known.invoice_id in free:
                with span("dun invoice", parent=known.traceparent):
                    await advance_dunning(row.id, now=row.now, uow=uow)
        held = [id for id, invoice_id in invoices.items() if invoice_id not in free]
        if held:
            await uow.dunnings.look_again_at(held, clock.system_now() + LOOK_AGAIN)

    return advance_due

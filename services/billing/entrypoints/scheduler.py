"""What is due in billing: drafts that may be finalized at last, payments to collect."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow, Job
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from libs.common.telemetry import span
from services.billing.adapters import rows
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.finalize_invoice import FinalizeInvoice, finalize_invoice
from services.billing.application.ports import Gateways
from services.billing.entrypoints.payment_collection import CollectPayments


def billing_jobs(
    *,
    units: UnitsOfWork[BillingUnitOfWork],
    clock: Clock,
    gateways: Gateways,
    retry_days: Sequence[int],
    claim_s: float,
    calls_at_once: int,
    stopping: Stopping | None = None,
) -> list[Job]:
    """The jobs of billing's worker, in the order in which they take turns."""
    finalize = DueJob(
        "finalize_invoices",
        service="billing",
        table=rows.invoice,
        units=units,
        clock=clock,
        work=finalize_due,
    )
    collect = CollectPayments(
        units=units,
        clock=clock,
        gateways=gateways,
        retry_days=retry_days,
        claim_s=claim_s,
        calls_at_once=calls_at_once,
        stopping=stopping,
    )
    return [finalize, collect]


async def finalize_due(due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
    """Each draft in the trace of the renewal that it bills."""
    await uow.invoices.load_for_update(row.id for row in due)
    drafts = [invoice for row in due if (invoice := await uow.invoices.find_for_update(row.id)) is not None]
    await uow.customer_balances.load_for_update((draft.customer_id, draft.currency) for draft in drafts)
    await uow.charges.load_of_invoices(row.id for row in due)
    for row in due:
        invoice = await uow.invoices.get_for_update(row.id)
        with span("finalize invoice", parent=invoice.traceparent):
            await finalize_invoice(FinalizeInvoice(row.id, row.now), uow=uow)

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
from services.billing.application.billing_run_ports import Metering
from services.billing.application.finalize_invoice import FinalizeInvoice, finalize_invoice
from services.billing.application.gateway_ports import Gateways
from services.billing.application.gather_invoices import GatherInvoices, gather_invoices
from services.billing.entrypoints.billing_run_jobs import billing_run_jobs
from services.billing.entrypoints.deposit_jobs import deposit_jobs
from services.billing.entrypoints.drafts_at_hand import load_drafts
from services.billing.entrypoints.dunning_job import dunning_job
from services.billing.entrypoints.gateway_event_job import GatewayEvents
from services.billing.entrypoints.interim_checks import CheckSpendThresholds
from services.billing.entrypoints.mail_job import MailParts, mail_job
from services.billing.entrypoints.outside_calls import A, C, CallOutside, OutsideWork
from services.billing.entrypoints.payment_job import CollectPayments
from services.billing.entrypoints.refund_job import GiveRefunds
from services.billing.entrypoints.statement_job import statement_job
from services.billing.entrypoints.wallet_job import wallet_job


def billing_jobs(
    *,
    units: UnitsOfWork[BillingUnitOfWork],
    clock: Clock,
    gateways: Gateways,
    retry_days: Sequence[int],
    claim_s: float,
    calls_at_once: int,
    metering: Metering,
    spend_check_s: float,
    mails: MailParts | None = None,
    stopping: Stopping | None = None,
) -> list[Job]:
    """The jobs of billing's worker, in the order in which they take turns."""

    def at_gateways(work: OutsideWork[C, A]) -> Job:
        return CallOutside(
            work, units=units, clock=clock, claim_s=claim_s, calls_at_once=calls_at_once, stopping=stopping
        )

    finalize = DueJob(
        "finalize_invoices",
        service="billing",
        table=rows.invoice,
        units=units,
        clock=clock,
        work=finalize_due,
    )
    thresholds = CheckSpendThresholds(
        units=units, clock=clock, metering=metering, every_s=spend_check_s, stopping=stopping
    )
    return [
        finalize,
        at_gateways(CollectPayments(gateways=gateways, retry_days=retry_days, clock=clock)),
        at_gateways(GatewayEvents(gateways=gateways, clock=clock)),
        at_gateways(GiveRefunds(gateways=gateways, retry_days=retry_days)),
        dunning_job(units, clock),
        wallet_job(units, clock),
        statement_job(units, clock),
        *billing_run_jobs(units=units, clock=clock),
        *deposit_jobs(units=units, clock=clock),
        thresholds,
        *([] if mails is None else [mail_job(mails, units=units, clock=clock, stopping=stopping)]),
    ]


async def finalize_due(due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
    """Each draft in the trace of the renewal that it bills. What is to be gathered goes where it belongs first."""
    now = {row.id: row.now for row in due}
    await uow.invoices.load_for_update(now)
    now = await gather_invoices(GatherInvoices(now), uow=uow)
    await load_drafts(now, uow)
    for id, at in now.items():
        invoice = await uow.invoices.get_for_update(id)
        with span("finalize invoice", parent=invoice.traceparent):
            await finalize_invoice(FinalizeInvoice(id, at), uow=uow)

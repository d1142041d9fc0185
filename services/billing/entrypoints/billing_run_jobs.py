"""Billing runs at work: steps of runs, and their documents, many in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow, Job
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.billing.adapters import billing_run_rows as rows
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.advance_billing_run import (
    DOCUMENTS_AT_ONCE_MAX,
    AdvanceBillingRun,
    advance_billing_run,
)
from services.billing.application.settle_run_documents import settle_run_documents
from services.billing.domain.billing_run import RunDocument
from services.billing.entrypoints.drafts_at_hand import load_drafts


def billing_run_jobs(*, units: UnitsOfWork[BillingUnitOfWork], clock: Clock) -> list[Job]:
    """Steps first: they make the documents due."""

    async def advance(due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
        await uow.billing_runs.load_for_update(row.id for row in due)
        for row in due:
            await advance_billing_run(AdvanceBillingRun(row.id, row.now), uow=uow)

    async def settle(due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
        documents = await uow.billing_runs.load_documents(row.id for row in due)
        tried = [document for document in documents if not document.has_failed_often]
        await load_drafts([document.invoice_id for document in tried], uow)
        await settle_run_documents(
            documents,
            now=await _business_now(tried, uow, clock),
            system_now=clock.system_now(),
            uow=uow,
        )

    return [
        DueJob(
            "advance_billing_runs",
            service="billing",
            table=rows.billing_run,
            units=units,
            clock=clock,
            work=advance,
        ),
        DueJob(
            "settle_run_documents",
            service="billing",
            table=rows.billing_run_document,
            units=units,
            clock=clock,
            work=settle,
            batch_max=DOCUMENTS_AT_ONCE_MAX,
        ),
    ]


async def _business_now(
    documents: Sequence[RunDocument], uow: BillingUnitOfWork, clock: Clock
) -> Mapping[str, datetime]:
    """Of each draft, by its id: runs are the wall's, documents belong to customers."""
    now: dict[str, datetime] = {}
    for document in documents:
        draft = await uow.invoices.find_for_update(document.invoice_id)
        if draft is not None:
            now[draft.id] = clock.business_now(await uow.test_clock(draft.clock_id))
    return now

"""Billing runs over HTTP: what is due is counted, or finalized; a person approves what is out of proportion."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.change_run_settings import change_run_settings
from services.billing.application.decide_billing_run import decide_billing_run
from services.billing.application.start_billing_run import start_billing_run
from services.billing.domain.billing_run import BillingRun
from services.billing.entrypoints.billing_run_bodies import (
    BillingRunBody,
    BillingRunId,
    DocumentStateText,
    NewBillingRunBody,
    RunDecisionBody,
    RunDocumentBody,
    RunSettingsBody,
    RunSettingsChangeBody,
    RunStateText,
)

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def billing_run_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["billing runs"])

    @router.post(
        "/billing-runs", status_code=202, response_model=BillingRunBody, summary="Ask for a billing run"
    )
    async def post_billing_run(body: NewBillingRunBody, call: Make) -> Response:
        """Everything due up to an instant is counted, then finalized. Look at the run to see how far it is."""

        async def work(uow: BillingUnitOfWork) -> BillingRunBody:
            run = await start_billing_run(body.to_command(), now=clock.system_now(), uow=uow)
            return BillingRunBody.from_view(run, {})

        return await call.once(work, status=202, location=lambda run: f"/v1/billing-runs/{run.id}")

    @router.get("/billing-runs", response_model=Page[BillingRunBody], summary="List billing runs")
    async def list_billing_runs(
        call: Read, page: PageDep, state: Annotated[RunStateText | None, Query()] = None
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[BillingRunBody]:
            found = await uow.billing_runs.list_runs(page, state=state)
            counts = await uow.billing_runs.progress([run.id for run in found.items])
            return found.map(lambda run: BillingRunBody.from_view(run, counts[run.id]))

        return await call.page(work)

    @router.get("/billing-runs/{billing_run_id}", response_model=BillingRunBody, summary="Show a billing run")
    async def get_billing_run(billing_run_id: BillingRunId, call: Read) -> Response:
        async def work(uow: BillingUnitOfWork) -> BillingRunBody:
            return await _shown(await uow.billing_runs.get(billing_run_id), uow)

        return await call.read(work)

    @router.get(
        "/billing-runs/{billing_run_id}/documents",
        response_model=Page[RunDocumentBody],
        summary="List the documents of a billing run",
    )
    async def list_billing_run_documents(
        billing_run_id: BillingRunId,
        call: Read,
        page: PageDep,
        state: Annotated[DocumentStateText | None, Query()] = None,
    ) -> Response:
        """What each comes to, and what has become of it."""

        async def work(uow: BillingUnitOfWork) -> Slice[RunDocumentBody]:
            run = await uow.billing_runs.get(billing_run_id)
            found = await uow.billing_runs.list_documents(run.id, page, state=state)
            return found.map(RunDocumentBody.from_domain)

        return await call.page(work)

    @router.post(
        "/billing-runs/{billing_run_id}/approvals",
        response_model=BillingRunBody,
        summary="Approve a billing run",
    )
    async def post_billing_run_approval(
        billing_run_id: BillingRunId, call: Make, body: RunDecisionBody | None = None
    ) -> Response:
        """It goes on: its documents are finalized."""
        return await _decide(billing_run_id, call, body, is_approved=True)

    @router.post(
        "/billing-runs/{billing_run_id}/rejections",
        response_model=BillingRunBody,
        summary="Reject a billing run",
    )
    async def post_billing_run_rejection(
        billing_run_id: BillingRunId, call: Make, body: RunDecisionBody | None = None
    ) -> Response:
        """Nothing of it is finalized. Its documents wait for another run."""
        return await _decide(billing_run_id, call, body, is_approved=False)

    async def _decide(
        id: str, call: Call[BillingUnitOfWork], body: RunDecisionBody | None, *, is_approved: bool
    ) -> Response:
        command = (body or RunDecisionBody()).to_command(id, is_approved=is_approved)

        async def work(uow: BillingUnitOfWork) -> BillingRunBody:
            run = await decide_billing_run(
                command, now=clock.system_now(), uow=uow, check_version=call.require_version
            )
            return await _shown(run, uow)

        return await call.once(work, status=200)

    @router.get("/billing-run-settings", response_model=RunSettingsBody, summary="Show how runs are limited")
    async def get_billing_run_settings(call: Read) -> Response:
        async def work(uow: BillingUnitOfWork) -> RunSettingsBody:
            return RunSettingsBody.from_domain(await uow.billing_runs.settings())

        return await call.read(work)

    @router.put("/billing-run-settings", response_model=RunSettingsBody, summary="Say how runs are limited")
    async def put_billing_run_settings(body: RunSettingsChangeBody, call: Change) -> Response:
        """From now on. What waits for a billing run already goes on waiting for one."""

        async def work(uow: BillingUnitOfWork) -> RunSettingsBody:
            settings = await change_run_settings(
                body.to_command(), uow=uow, check_version=call.require_version
            )
            return RunSettingsBody.from_domain(settings)

        return await call.change(work)

    return router


async def _shown(run: BillingRun, uow: BillingUnitOfWork) -> BillingRunBody:
    counts = await uow.billing_runs.progress([run.id])
    return BillingRunBody.from_view(run, counts[run.id])

"""Taxes over HTTP: rates by law and of one's own, and what tax a supply would bear."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.calls import JSON, Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_tax_rate import add_tax_rate
from services.billing.application.assess_tax import assess_tax
from services.billing.domain.tax_rate import word_of
from services.billing.entrypoints.draft_plan_bodies import TaxCategory
from services.billing.entrypoints.tax_bodies import (
    Country,
    NewTaxAssessmentBody,
    NewTaxRateBody,
    TaxAssessmentBody,
    TaxRateBody,
)

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def tax_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["taxes"])

    @router.get("/tax-rates", response_model=Page[TaxRateBody], summary="List rates of tax")
    async def list_tax_rates(
        call: Read,
        page: PageDep,
        country: Annotated[Country | None, Query()] = None,
        tax_category: Annotated[TaxCategory | None, Query()] = None,
    ) -> Response:
        """Those of the law, by the day from which they hold, and one's own, by when they were added."""

        async def work(uow: BillingUnitOfWork) -> Slice[TaxRateBody]:
            category = None if tax_category is None else word_of(tax_category)
            found = await uow.tax_rates.page(page, country=country, category=category)
            return found.map(TaxRateBody.from_domain)

        return await call.page(work)

    @router.post("/tax-rates", status_code=201, response_model=TaxRateBody, summary="Add a rate of tax")
    async def post_tax_rate(body: NewTaxRateBody, call: Make) -> Response:
        """One's own rate holds before the law's. It is never changed: a later one takes its place."""

        async def work(uow: BillingUnitOfWork) -> TaxRateBody:
            rate = await add_tax_rate(body.to_command(), now=clock.system_now(), uow=uow)
            return TaxRateBody.from_domain(rate)

        return await call.once(work)

    @router.post("/tax-assessments", response_model=TaxAssessmentBody, summary="Assess the tax of supplies")
    async def post_tax_assessment(body: NewTaxAssessmentBody, call: Read) -> Response:
        """What would stand on an invoice, and why. Nothing is stored."""
        command = body.to_command()

        async def work(uow: BillingUnitOfWork) -> TaxAssessmentBody:
            return TaxAssessmentBody.from_view(await assess_tax(command, uow=uow))

        answer = await call.run(work)
        return Response(answer.model_dump_json(), media_type=JSON)

    return router

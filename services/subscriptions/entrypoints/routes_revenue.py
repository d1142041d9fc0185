"""Recurring revenue over HTTP: months, movements, a chart and a file; and how customers stand."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import BusinessDate, Currency
from libs.common.web.csv_text import MEDIA_TYPE
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.customer_standings import (
    get_customer_standing,
    list_customer_standings,
)
from services.subscriptions.application.ports import RevenueFilter, StandingFilter
from services.subscriptions.application.revenue_queries import (
    RevenueMonthsReversed,
    RevenueView,
    revenue_by_month,
    revenue_in_one_currency,
    revenue_time,
)
from services.subscriptions.domain.recurring_revenue import MovementKind
from services.subscriptions.entrypoints.bodies import TestClockId
from services.subscriptions.entrypoints.customer_bodies import CustomerId
from services.subscriptions.entrypoints.dependencies import ClockDep, PortalReadCall, ReadCall
from services.subscriptions.entrypoints.revenue_bodies import (
    CustomerStandingBody,
    GivenMonth,
    RevenueEntryBody,
    RevenueMovementsBody,
    month_of,
    revenue_csv,
)
from services.subscriptions.entrypoints.revenue_chart import revenue_chart

router = LateRouter(prefix="/v1/revenue-movements", tags=["recurring revenue"])
standings = LateRouter(prefix="/v1/customer-standings", tags=["recurring revenue"])

FromMonth = Annotated[GivenMonth, Query(alias="from")]
ToMonth = Annotated[GivenMonth, Query(alias="to")]
InCurrency = Annotated[Currency | None, Query(description="Of one currency only.")]
OfCustomer = Annotated[CustomerId | None, Query(description="Of one customer only.")]
OnClock = Annotated[TestClockId | None, Query(description="Of subscriptions on this test clock only.")]
BEGINNING, END = date(1900, 1, 1), date(2200, 1, 1)


@router.get("", response_model=RevenueMovementsBody, summary="Show recurring revenue by month")
async def get_revenue_movements(
    call: ReadCall,
    clock: ClockDep,
    from_month: FromMonth = None,
    to_month: ToMonth = None,
    currency: InCurrency = None,
    customer_id: OfCustomer = None,
    test_clock_id: OnClock = None,
) -> Response:
    """MRR as each month opened and closed, the movements between, and what of it was retained; by currency.

    By default the twelve months until this one. A change of the past changes the months of the past.
    """
    time = revenue_time(month_of(from_month), month_of(to_month), clock)
    wanted = RevenueFilter(customer_id, currency, test_clock_id)

    async def work(uow: SubscriptionsUnitOfWork) -> RevenueMovementsBody:
        return RevenueMovementsBody.from_views(time, await revenue_by_month(wanted, time, uow=uow))

    return await call.read(work)


@router.get(
    "/csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}},
    summary="Export recurring revenue by month",
)
async def get_revenue_csv(
    call: ReadCall,
    clock: ClockDep,
    from_month: FromMonth = None,
    to_month: ToMonth = None,
    currency: InCurrency = None,
    customer_id: OfCustomer = None,
    test_clock_id: OnClock = None,
) -> Response:
    """The same figures as comma-separated values, one record for each month and currency."""
    time = revenue_time(month_of(from_month), month_of(to_month), clock)
    wanted = RevenueFilter(customer_id, currency, test_clock_id)

    async def work(uow: SubscriptionsUnitOfWork) -> str:
        return revenue_csv(await revenue_by_month(wanted, time, uow=uow))

    headers = {"content-disposition": 'attachment; filename="revenue-movements.csv"'}
    return Response(await call.run(work), media_type=f"{MEDIA_TYPE}; header=present", headers=headers)


@router.get(
    "/chart",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}}},
    summary="Draw recurring revenue by month",
)
async def get_revenue_chart(
    call: ReadCall,
    clock: ClockDep,
    from_month: FromMonth = None,
    to_month: ToMonth = None,
    currency: InCurrency = None,
    customer_id: OfCustomer = None,
    test_clock_id: OnClock = None,
) -> Response:
    """The same figures as a picture (SVG), of one currency; it has to be named where there are several."""
    time = revenue_time(month_of(from_month), month_of(to_month), clock)
    wanted = RevenueFilter(customer_id, currency, test_clock_id)

    async def work(uow: SubscriptionsUnitOfWork) -> RevenueView | None:
        return await revenue_in_one_currency(wanted, time, uow=uow)

    view = await call.run(work)
    return Response(revenue_chart(view.months if view is not None else ()), media_type="image/svg+xml")


@router.get("/entries", response_model=Page[RevenueEntryBody], summary="List movements of recurring revenue")
async def list_revenue_entries(
    call: ReadCall,
    page: PageDep,
    from_date: Annotated[BusinessDate | None, Query(alias="from", description="The first day.")] = None,
    to_date: Annotated[
        BusinessDate | None, Query(alias="to", description="The first day that is not asked for.")
    ] = None,
    kind: Annotated[MovementKind | None, Query(description="Of one kind only.")] = None,
    currency: InCurrency = None,
    customer_id: OfCustomer = None,
    test_clock_id: OnClock = None,
) -> Response:
    """By day, and of one day by subscription. What was moved there and back within a day is no movement."""
    start_on, end_on = from_date or BEGINNING, to_date or END
    if end_on <= start_on:
        raise RevenueMonthsReversed("to is not after from", pointer="/to")
    wanted = RevenueFilter(customer_id, currency, test_clock_id, kind)

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[RevenueEntryBody]:
        found = await uow.revenue.list_page(wanted, start_on, end_on, page)
        return found.map(RevenueEntryBody.from_entry)

    return await call.page(work)


@standings.get("", response_model=Page[CustomerStandingBody], summary="List how customers stand")
async def list_standings(
    call: ReadCall,
    clock: ClockDep,
    page: PageDep,
    overdue: Annotated[
        bool | None, Query(description="Those who owe something that is overdue, or those who do not.")
    ] = None,
    tenure_days_min: Annotated[
        int | None, Query(ge=0, le=100_000, description="Those who have been customers for so long.")
    ] = None,
) -> Response:
    """In the order in which the customers were made."""
    wanted = StandingFilter(overdue, tenure_days_min)

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[CustomerStandingBody]:
        found = await list_customer_standings(wanted, page, uow=uow, clock=clock)
        return found.map(CustomerStandingBody.from_domain)

    return await call.page(work)


@standings.get("/{customer_id}", response_model=CustomerStandingBody, summary="Show how a customer stands")
async def get_standing(customer_id: CustomerId, call: PortalReadCall, clock: ClockDep) -> Response:
    """Since when, how often renewed, what a year of it came to and comes to, whether it has paid, and what comes next."""

    async def work(uow: SubscriptionsUnitOfWork) -> CustomerStandingBody:
        found = await get_customer_standing(customer_id, portal_customer=call.customer, uow=uow, clock=clock)
        return CustomerStandingBody.from_domain(found)

    return await call.read(work)

"""Reads for screens and programs. Under a portal token nothing of another customer's is there."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from libs.common.clock import Clock
from libs.common.paging import PageRequest, Slice
from libs.common.periods import local_date
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import (
    BindingFilter,
    ChangeFilter,
    CustomerFilter,
    MoveResultFilter,
    SubscriptionFilter,
    UnitOfWork,
)
from services.subscriptions.domain.customer import Customer, CustomerNotFound
from services.subscriptions.domain.earliest_end import EarliestEnd, earliest_end
from services.subscriptions.domain.early_termination import EarlyTerminationQuote, QuoteNotFound
from services.subscriptions.domain.plan_move import MoveResult, PlanMove
from services.subscriptions.domain.receipt import Receipt, ReceiptNotFound
from services.subscriptions.domain.scheduled_change import ChangeNotFound, ScheduledChange
from services.subscriptions.domain.subject_binding import SubjectBinding, SubjectBindingNotFound
from services.subscriptions.domain.subscription import Subscription, SubscriptionNotFound
from services.subscriptions.domain.test_clock import ClockMove, ClockMoveNotFound, TestClock
from services.subscriptions.domain.timeline_entry import TimelineEntry


async def get_customer(id: str, *, portal_customer: str | None, uow: UnitOfWork) -> Customer:
    """Raises: CustomerNotFound."""
    if portal_customer not in (None, id):
        raise CustomerNotFound("there is no customer with this id")
    return await uow.customers.get(id)


async def list_customers(wanted: CustomerFilter, page: PageRequest, *, uow: UnitOfWork) -> Slice[Customer]:
    return await uow.customers.list_page(wanted, page)


async def get_subscription(id: str, *, portal_customer: str | None, uow: UnitOfWork) -> Subscription:
    """Raises: SubscriptionNotFound."""
    subscription = await uow.subscriptions.get(id)
    if portal_customer not in (None, subscription.customer_id):
        raise SubscriptionNotFound("there is no subscription with this id")
    return subscription


async def list_subscriptions(
    wanted: SubscriptionFilter, page: PageRequest, *, portal_customer: str | None, uow: UnitOfWork
) -> Slice[Subscription]:
    if portal_customer is not None:
        if wanted.customer_id not in (None, portal_customer):
            return Slice(items=())
        wanted = replace(wanted, customer_id=portal_customer)
    return await uow.subscriptions.list_page(wanted, page)


async def get_earliest_end(
    id: str, received_on: date | None, *, portal_customer: str | None, uow: UnitOfWork, clock: Clock
) -> tuple[EarliestEnd, Subscription]:
    """For a cancellation received on that local date, today unless given; of one that is over, when that was.

    Raises: SubscriptionNotFound.
    """
    subscription = await get_subscription(id, portal_customer=portal_customer, uow=uow)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    return earliest_end(
        subscription, received_on or local_date(now, subscription.calendar.zone)
    ), subscription


async def get_quote(
    id: str, *, subscription_id: str, portal_customer: str | None, uow: UnitOfWork
) -> EarlyTerminationQuote:
    """Raises: SubscriptionNotFound, QuoteNotFound."""
    await get_subscription(subscription_id, portal_customer=portal_customer, uow=uow)
    quote = await uow.quotes.get(id)
    if quote.subscription_id != subscription_id:
        raise QuoteNotFound("there is no early-termination quote with this id")
    return quote


async def get_receipt(id: str, *, portal_customer: str | None, uow: UnitOfWork) -> Receipt:
    """Raises: ReceiptNotFound."""
    receipt = await uow.receipts.get(id)
    if portal_customer not in (None, receipt.customer_id):
        raise ReceiptNotFound("there is no receipt with this id")
    return receipt


async def get_change(
    id: str, *, subscription_id: str, portal_customer: str | None, uow: UnitOfWork
) -> ScheduledChange:
    """Raises: SubscriptionNotFound, ChangeNotFound."""
    await get_subscription(subscription_id, portal_customer=portal_customer, uow=uow)
    change = await uow.scheduled_changes.get(id)
    if change.subscription_id != subscription_id:
        raise ChangeNotFound("the subscription has no change with this id")
    return change


async def list_changes(
    wanted: ChangeFilter, page: PageRequest, *, portal_customer: str | None, uow: UnitOfWork
) -> Slice[ScheduledChange]:
    """Raises: SubscriptionNotFound."""
    await get_subscription(wanted.subscription_id, portal_customer=portal_customer, uow=uow)
    return await uow.scheduled_changes.list_page(wanted, page)


async def get_plan_move(id: str, *, uow: UnitOfWork) -> PlanMove:
    """Raises: PlanMoveNotFound."""
    return await uow.plan_moves.get(id)


async def list_plan_moves(page: PageRequest, *, uow: UnitOfWork) -> Slice[PlanMove]:
    return await uow.plan_moves.list_page(page)


async def list_plan_move_results(
    wanted: MoveResultFilter, page: PageRequest, *, uow: UnitOfWork
) -> Slice[MoveResult]:
    """Raises: PlanMoveNotFound."""
    await uow.plan_moves.get(wanted.plan_move_id)
    return await uow.plan_moves.list_results(wanted, page)


async def get_binding(id: str, *, portal_customer: str | None, uow: UnitOfWork) -> SubjectBinding:
    """Raises: SubjectBindingNotFound."""
    binding = await uow.bindings.get(id)
    if portal_customer is not None:
        subscription = await uow.subscriptions.get(binding.subscription_id)
        if subscription.customer_id != portal_customer:
            raise SubjectBindingNotFound("there is no subject binding with this id")
    return binding


async def list_bindings(
    wanted: BindingFilter, page: PageRequest, *, portal_customer: str | None, uow: UnitOfWork
) -> Slice[SubjectBinding]:
    return await uow.bindings.list_page(replace(wanted, customer_id=portal_customer), page)


async def get_test_clock(id: str, *, uow: UnitOfWork) -> TestClock:
    """Raises: TestClockNotFound."""
    return await uow.test_clocks.get(id)


async def list_test_clocks(page: PageRequest, *, uow: UnitOfWork) -> Slice[TestClock]:
    return await uow.test_clocks.list_page(page)


async def get_clock_move(id: str, *, test_clock_id: str, uow: UnitOfWork) -> ClockMove:
    """Raises: ClockMoveNotFound."""
    move = await uow.clock_moves.get(id)
    if move.test_clock_id != test_clock_id:
        raise ClockMoveNotFound("there is no move with this id")
    return move


async def list_timeline(
    subscription_id: str, page: PageRequest, *, portal_customer: str | None, uow: UnitOfWork
) -> Slice[TimelineEntry]:
    """Raises: SubscriptionNotFound."""
    await get_subscription(subscription_id, portal_customer=portal_customer, uow=uow)
    return await uow.timeline.list_page(subscription_id, page)

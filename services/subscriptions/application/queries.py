"""Reads for screens and programs. Under a portal token nothing of another customer's is there."""

from __future__ import annotations

from dataclasses import replace

from libs.common.paging import PageRequest, Slice
from services.subscriptions.application.ports import (
    BindingFilter,
    CustomerFilter,
    SubscriptionFilter,
    UnitOfWork,
)
from services.subscriptions.domain.customer import Customer, CustomerNotFound
from services.subscriptions.domain.subject_binding import SubjectBinding, SubjectBindingNotFound
from services.subscriptions.domain.subscription import Subscription, SubscriptionNotFound
from services.subscriptions.domain.test_clock import ClockMove, ClockMoveNotFound, TestClock


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

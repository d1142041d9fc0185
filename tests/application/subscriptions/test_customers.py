"""Customers are made and changed, and everybody hears of it."""

from __future__ import annotations

import pytest

from libs.common.contracts.subscriptions import CustomerChangedV1
from libs.common.errors import PreconditionFailed
from services.subscriptions.application.change_customer import ChangeCustomer, change_customer
from services.subscriptions.application.create_customer import CreateCustomer, create_customer
from services.subscriptions.application.queries import get_customer
from services.subscriptions.domain.customer import CustomerNotFound
from tests.support.clocks import FixedClock
from tests.support.subscriptions import TENANT, MemorySubscriptionsUnitOfWork, a_customer
from tests.support.versions import OnlyVersion


async def test_a_customer_is_made_and_told_of(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    customer = await create_customer(
        CreateCustomer(name="AirTran", external_id="FL", country="US"), uow=uow, clock=clock
    )
    assert uow.customers.by_id[customer.id] == customer
    [appended] = uow.outbox.appended
    assert isinstance(appended.event, CustomerChangedV1)
    assert appended.key == customer.id
    assert (appended.event.tenant, appended.event.version) == (TENANT, 1)
    assert appended.event.occurred_at == clock.now
    assert (appended.event.customer.name, appended.event.customer.external_id) == ("AirTran", "FL")
    assert [line.action for line in uow.recorded] == ["customer.created"]


async def test_a_change_is_told_with_its_version_and_no_change_is_not(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    id = a_customer().id
    await change_customer(ChangeCustomer(id, {"name": "Delta"}), uow=uow, clock=clock)
    again = await change_customer(ChangeCustomer(id, {"name": "Delta"}), uow=uow, clock=clock)
    assert (again.name, again.version) == ("Delta", 2)
    assert [event.version for event in uow.outbox.events] == [2]


async def test_a_change_of_another_version_is_refused(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    with pytest.raises(PreconditionFailed):
        await change_customer(
            ChangeCustomer(a_customer().id, {"name": "Delta"}),
            uow=uow,
            clock=clock,
            check_version=OnlyVersion(7),
        )
    assert uow.told == []


async def test_a_portal_token_sees_its_own_customer_only(uow: MemorySubscriptionsUnitOfWork) -> None:
    id = a_customer().id
    assert (await get_customer(id, portal_customer=id, uow=uow)).id == id
    with pytest.raises(CustomerNotFound):
        await get_customer(id, portal_customer="cus_other", uow=uow)

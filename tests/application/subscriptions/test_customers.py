"""Customers are made and changed, and everybody hears of it."""

from __future__ import annotations

import pytest

from libs.common.contracts.subscriptions import CustomerChangedV1
from libs.common.errors import PreconditionFailed
from services.subscriptions.application.change_customer import ChangeCustomer, change_customer
from services.subscriptions.application.create_customer import CreateCustomer, create_customer
from services.subscriptions.application.erase_customer import EraseCustomer, erase_customer
from services.subscriptions.application.payers import find_payer
from services.subscriptions.application.queries import get_customer
from services.subscriptions.domain.customer import (
    ERASED_NAME,
    CustomerErased,
    CustomerNotErasable,
    CustomerNotFound,
    FamilyTooDeep,
    PayerInCircle,
)
from services.subscriptions.domain.invoice_standing import InvoiceStanding, Standing
from services.subscriptions.domain.postal_address import PostalAddress
from tests.support.clocks import FixedClock
from tests.support.subscriptions import TENANT, MemorySubscriptionsUnitOfWork, a_customer, a_subscription
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


async def test_all_that_is_known_travels_with_the_event(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    parent = a_customer().id
    command = CreateCustomer(
        name="AirTran",
        legal_name="AirTran Airways, Inc.",
        address=PostalAddress(line1="1030 Delta Blvd", city="Atlanta", region="GA", country="US"),
        locale="en-us",
        currency="USD",
        zone="America/New_York",
        parent_id=parent,
        payment_terms_days=30,
    )
    customer = await create_customer(command, uow=uow, clock=clock)
    [event] = uow.outbox.events
    assert isinstance(event, CustomerChangedV1)
    told = event.customer
    assert told.address is not None
    assert (told.address.line1, told.address.region, told.country) == ("1030 Delta Blvd", "GA", "US")
    assert (told.legal_name, told.locale, told.zone) == ("AirTran Airways, Inc.", "en-US", "America/New_York")
    assert (told.parent_id, told.payment_terms_days, told.is_erased) == (parent, 30, False)
    assert customer.locale == "en-US"


async def test_whoever_stands_highest_pays(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    root = await uow.customers.get(a_customer().id)
    child = await create_customer(CreateCustomer("Child", parent_id=root.id), uow=uow, clock=clock)
    grandchild = await create_customer(CreateCustomer("Grandchild", parent_id=child.id), uow=uow, clock=clock)
    assert await find_payer(grandchild, uow=uow) == root
    assert await find_payer(child, uow=uow) == root
    assert await find_payer(root, uow=uow) is None
    alone = await change_customer(ChangeCustomer(child.id, {"parent_id": None}), uow=uow, clock=clock)
    assert await find_payer(grandchild, uow=uow) == alone


async def test_a_parent_must_be_there(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    with pytest.raises(CustomerNotFound) as refused:
        await create_customer(CreateCustomer("Child", parent_id="cus_nobody"), uow=uow, clock=clock)
    assert refused.value.pointer == "/parent_id"
    assert uow.told == []


async def test_no_circle_and_no_sixth_level(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    ids = [a_customer().id]
    for level in range(2, 6):
        made = await create_customer(
            CreateCustomer(f"Level {level}", parent_id=ids[-1]), uow=uow, clock=clock
        )
        ids.append(made.id)
    with pytest.raises(FamilyTooDeep):
        await create_customer(CreateCustomer("Level 6", parent_id=ids[-1]), uow=uow, clock=clock)
    with pytest.raises(PayerInCircle):
        await change_customer(ChangeCustomer(ids[0], {"parent_id": ids[-1]}), uow=uow, clock=clock)
    top = await create_customer(CreateCustomer("Above all"), uow=uow, clock=clock)
    with pytest.raises(FamilyTooDeep):
        await change_customer(ChangeCustomer(ids[0], {"parent_id": top.id}), uow=uow, clock=clock)
    await change_customer(ChangeCustomer(ids[1], {"parent_id": top.id}), uow=uow, clock=clock)
    assert uow.customers.hold_count == 8, "whoever changes a family holds it first"


async def test_a_change_of_anything_else_holds_no_family(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await change_customer(ChangeCustomer(a_customer().id, {"name": "Delta"}), uow=uow, clock=clock)
    assert uow.customers.hold_count == 0


async def test_erasure_is_told_once_and_the_log_knows_an_id_only(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    id = a_customer().id
    erased = await erase_customer(EraseCustomer(id), uow=uow, clock=clock)
    again = await erase_customer(EraseCustomer(id), uow=uow, clock=clock)
    assert again is erased
    assert (erased.name, erased.erased_at) == (ERASED_NAME, clock.now)
    [event] = uow.outbox.events
    assert isinstance(event, CustomerChangedV1)
    assert event.customer.is_erased
    assert "Delta" not in event.model_dump_json()
    assert [(line.action, line.aggregate_id) for line in uow.recorded] == [("customer.erased", id)]
    with pytest.raises(CustomerErased):
        await change_customer(ChangeCustomer(id, {"name": "Delta"}), uow=uow, clock=clock)


async def test_erasure_waits_for_what_is_under_way(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    id = a_customer().id
    child = await create_customer(CreateCustomer("Child", parent_id=id), uow=uow, clock=clock)
    running = a_subscription(customer_id=id)
    uow.subscriptions.add(running)
    uow.standings.put(running.id, "inv_1", Standing(InvoiceStanding.OVERDUE))
    with pytest.raises(CustomerNotErasable) as refused:
        await erase_customer(EraseCustomer(id), uow=uow, clock=clock)
    assert refused.value.facts == {"subscriptions": 1, "children": 1, "unpaid_invoices": 1}
    assert child.id in refused.value.message

    await erase_customer(EraseCustomer(child.id), uow=uow, clock=clock)
    uow.standings.put(running.id, "inv_1", Standing(InvoiceStanding.PAID))
    with pytest.raises(CustomerNotErasable) as still:
        await erase_customer(EraseCustomer(id), uow=uow, clock=clock)
    assert still.value.facts == {"subscriptions": 1, "children": 0, "unpaid_invoices": 0}


async def test_erasure_of_another_version_is_refused(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    with pytest.raises(PreconditionFailed):
        await erase_customer(
            EraseCustomer(a_customer().id), uow=uow, clock=clock, check_version=OnlyVersion(7)
        )

"""What the catalog keeps of the customers and subscriptions that it hears of."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from libs.common.contracts.envelope import Envelope, Event
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    CustomerChangedV1,
    CustomerV1,
    SubscriptionStartedV1,
    SubscriptionV1,
)
from libs.common.ids import new_id
from libs.common.messaging.bus import Delivery
from services.catalog.adapters import rows
from services.catalog.domain.known_customer import KnownSubscription
from tests.integration.catalog.test_events import consumer_of, delivery_of
from tests.support.service_under_test import ServiceUnderTest

AT = datetime(2025, 6, 1, tzinfo=UTC)


def heard(event: Event, aggregate_id: str) -> Delivery:
    return delivery_of(
        Envelope(
            id=new_id("evt"),
            type=event.TYPE,
            source="/perennial/subscriptions",
            tenant=event.tenant,
            aggregate_id=aggregate_id,
            aggregate_version=1,
            occurred_at=AT,
            test_clock=event.test_clock,
            traceparent=None,
            data=event.model_dump_json().encode(),
        )
    )


def a_customer(tenant: str, id: str, version: int = 1, **changes: Any) -> Delivery:
    customer = CustomerV1(customer_id=id, customer_version=version, name="Cloudhop", **changes)
    return heard(CustomerChangedV1(tenant=tenant, occurred_at=AT, customer=customer), id)


def a_start(tenant: str, id: str, *, customer_id: str, **event: Any) -> Delivery:
    subscription = SubscriptionV1(
        subscription_id=id,
        customer=CustomerV1(customer_id=customer_id, customer_version=1, name="Cloudhop"),
        plan_version_id="plv_1",
        plan_name="Power",
        currency="USD",
        zone="UTC",
        anchor_on=date(2025, 6, 1),
        interval_unit="month",
        interval_count=1,
        items=(),
        starts_at=AT,
    )
    period = BillingPeriodV1(
        index=0, start_on=date(2025, 6, 1), end_on=date(2025, 7, 1), start=AT, end=AT.replace(month=7)
    )
    started = SubscriptionStartedV1(
        tenant=tenant, occurred_at=AT, subscription=subscription, period=period, **event
    )
    return heard(started, id)


async def test_who_is_heard_of_twice_is_kept_once(catalog: ServiceUnderTest, tenant: str) -> None:
    first, again = a_customer(tenant, "cus_1"), a_customer(tenant, "cus_1", version=2)
    begun = a_start(tenant, "sub_1", customer_id="cus_2", test_clock="clk_1")
    await consumer_of(catalog).apply([first, again, begun])
    await consumer_of(catalog).apply([begun, first, a_start(tenant, "sub_1", customer_id="cus_2")])
    async with catalog.parts.worker_units.open(tenant, "test") as uow:
        known = [await uow.known_customers.is_known(id) for id in ("cus_1", "cus_2", "cus_3")]
        assert known == [True, True, False]
        assert await uow.known_customers.find_subscription("sub_1") == KnownSubscription(
            "sub_1", "cus_2", "clk_1"
        )
        assert await uow.known_customers.find_subscription("sub_2") is None


async def test_of_an_erased_customer_nothing_is_kept_but_its_id(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    """Its redemptions stay: they are what was billed."""
    erased = a_customer(tenant, "cus_1", version=2, is_erased=True)
    await consumer_of(catalog).apply([a_customer(tenant, "cus_1"), erased])
    assert {column.name for column in rows.known_customer.columns} == {"id", "tenant"}
    async with catalog.parts.worker_units.open(tenant, "test") as uow:
        assert await uow.known_customers.is_known("cus_1")

"""Event → command: what the catalog does with what it hears."""

from __future__ import annotations

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.catalog import TenantChangedV1, TokenRevokedV1
from libs.common.contracts.metering import MeterDefinedV1
from libs.common.contracts.subscriptions import CustomerChangedV1, SubscriptionStartedV1, TestClockMovedV1
from libs.common.messaging.handlers import HandlerGroup
from libs.common.persistence.reference import on_tenant_changed, on_test_clock_moved, on_token_revoked
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application.note_customer import (
    NoteCustomer,
    NoteSubscription,
    note_customer,
    note_subscription,
)
from services.catalog.application.note_meter import NoteMeter, note_meter
from services.catalog.domain.known_customer import KnownSubscription
from services.catalog.domain.known_meter import KnownMeter


async def on_meter_defined(event: MeterDefinedV1, uow: CatalogUnitOfWork) -> None:
    """From now on usage prices may name the meter."""
    command = NoteMeter(
        KnownMeter(
            code=event.code,
            meter_id=event.meter_id,
            aggregation=event.aggregation,
            unit=event.unit,
            version=event.version,
        )
    )
    await note_meter(command, uow=uow)


async def on_customer_changed(event: CustomerChangedV1, uow: CatalogUnitOfWork) -> None:
    """From now on the customer may redeem coupons."""
    await note_customer(NoteCustomer(event.customer.customer_id), uow=uow)


async def on_subscription_started(event: SubscriptionStartedV1, uow: CatalogUnitOfWork) -> None:
    """From now on coupons may be redeemed for this subscription alone."""
    begun = event.subscription
    subscription = KnownSubscription(
        id=begun.subscription_id, customer_id=begun.customer.customer_id, clock_id=event.test_clock
    )
    await note_subscription(NoteSubscription(subscription), uow=uow)


HANDLERS: HandlerGroup[CatalogUnitOfWork] = HandlerGroup(
    name=group_of("catalog"),
    topics=tuple(topic_of(service) for service in HEARS["catalog"]),
    handle={
        MeterDefinedV1: on_meter_defined,
        CustomerChangedV1: on_customer_changed,
        SubscriptionStartedV1: on_subscription_started,
        TenantChangedV1: on_tenant_changed,
        TokenRevokedV1: on_token_revoked,
        TestClockMovedV1: on_test_clock_moved,
    },
)

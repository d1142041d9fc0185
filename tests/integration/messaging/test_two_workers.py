"""Two workers of one group, with mixed news of the same things from different partitions: they wait, and no more.

News of one subscription reaches billing on two topics, and news of its invoices reaches subscriptions under keys of
their own. So two workers often have the same rows in hand, each in an order of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from libs.common.contracts.envelope import Event
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.handlers import HandlerGroup
from libs.common.persistence.session import Database, asyncpg_dsn
from libs.common.persistence.unit_of_work import UnitOfWork, UnitsOfWork
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.bootstrap import build as build_billing
from services.billing.entrypoints.event_handlers import HANDLERS as BILLING
from services.subscriptions.adapters import rows
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.bootstrap import build as build_subscriptions
from services.subscriptions.entrypoints.event_handlers import HANDLERS as SUBSCRIPTIONS
from tests.integration.billing.workbench import Workbench, delivered
from tests.integration.subscriptions.story import Story as SubscriptionsStory
from tests.support.billing import Story
from tests.support.clocks import FixedClock
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import UnusedBus, new_tenant, service_under_test

ROUNDS = 6


class CountedUnits(UnitsOfWork[Any]):
    """Counts the transactions: one for each batch, unless one was repeated or cut in halves."""

    opened = 0

    @asynccontextmanager
    async def open_for_many(self) -> AsyncIterator[Any]:
        self.opened += 1
        async with super().open_for_many() as uow:
            yield uow


@dataclass
class Worker:
    units: CountedUnits
    consumer: Consumer[Any]
    batches: int = 0

    async def hear(self, events: Sequence[Event]) -> None:
        self.batches += 1
        await self.consumer.apply([delivered(event) for event in events])


@asynccontextmanager
async def two_workers(
    service: str, dsn: str, group: HandlerGroup[Any], make: Callable[[Any], UnitOfWork]
) -> AsyncIterator[list[Worker]]:
    databases = [Database(dsn), Database(dsn)]
    workers = []
    for number, database in enumerate(databases):
        units = CountedUnits(database, make)
        consumer = Consumer(service=service, group=group, bus=UnusedBus(), units=units, member=f"{number}")
        workers.append(Worker(units, consumer))
    yield workers
    for database in databases:
        await database.close()  # a session tells its statistics at the latest when it ends


async def deadlocks(dsn: str) -> int:
    connection = await asyncpg.connect(asyncpg_dsn(dsn))
    try:
        found = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    finally:
        await connection.close()
    return int(found)


def dealt(news: Sequence[Event], seed: int) -> tuple[list[Event], list[Event]]:
    """Half of the news each, mixed."""
    shuffled = random.Random(seed).sample(list(news), len(news))
    return shuffled[::2], shuffled[1::2]


async def test_billing_hears_of_the_same_subscriptions_on_two_topics(
    postgres: PostgresForTests, tmp_path: Any
) -> None:
    async with service_under_test(postgres, "billing", build_billing, folder=tmp_path) as service:
        bench = Workbench(service)
        tenants = [new_tenant(), new_tenant()]
        stories = [Story(tenant) for tenant in tenants for _ in range(25)]
        for tenant in tenants:
            await bench.add_seller(tenant)
        dsn = service.database.worker_dsn
        async with two_workers("billing", dsn, BILLING, BillingUnitOfWork) as (one, two):
            for number in range(1, ROUNDS + 1):
                # The first round begins with agreements that nobody knows yet.
                news: list[Event] = [story.renewed(number) for story in stories]
                news += [story.window_closed(number - 1, "10") for story in stories]
                news += [story.changed(1) for story in stories[::2]]
                mine, yours = dealt(news, number)
                if number == 1:  # and at its worst: each has what the other asks for last
                    half = len(stories) // 2
                    mine = [*news[:half], *news[len(stories) + half : 2 * len(stories)]]
                    yours = [event for event in news if event not in mine][::-1]
                await asyncio.gather(one.hear(mine), two.hear(yours))
        for worker in (one, two):
            assert worker.units.opened == worker.batches == ROUNDS
        assert await deadlocks(service.database.admin_dsn) == 0
        assert await bench.failures(set(tenants)) == []
        for tenant in tenants:
            status = Counter(invoice["status"] for invoice in await bench.invoices(tenant))
            assert status == {"finalized": 25 * ROUNDS}


async def test_subscriptions_hear_of_many_invoices_of_the_same_subscriptions(
    postgres: PostgresForTests, tmp_path: Any
) -> None:
    async with service_under_test(postgres, "subscriptions", build_subscriptions, folder=tmp_path) as service:
        story = SubscriptionsStory(service, new_tenant(), FixedClock())
        await story.hear_of_tenant()
        await story.hear_of_plan()
        async with story.client() as client:
            customer = await story.customer(client)
            made = [await story.subscription(client, customer_id=customer["id"]) for _ in range(20)]
        ids = [subscription["id"] for subscription in made]
        dsn = service.database.worker_dsn
        async with two_workers("subscriptions", dsn, SUBSCRIPTIONS, SubscriptionsUnitOfWork) as (one, two):
            for number in range(ROUNDS):
                news: list[Event] = [story.failed(id, f"inv_{id}_{number}") for id in ids]
                news += [story.paid(id, f"inv_{id}_{number}_other") for id in ids]
                mine, yours = dealt(news, number)
                if number == 0:
                    mine, yours = [*news[:10], *news[30:]], [*news[10:20], *news[20:30]]
                await asyncio.gather(one.hear(mine), two.hear(yours))
        for worker in (one, two):
            assert worker.units.opened == worker.batches == ROUNDS
        assert await deadlocks(service.database.admin_dsn) == 0
        assert {row["state"] for row in await story.rows(rows.subscription)} == {"suspended"}

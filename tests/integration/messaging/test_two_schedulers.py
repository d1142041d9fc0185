"""Two schedulers at once, each with a pool of its own, on the due rows of the real services: each is done once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from libs.common.contracts.billing import (
    InvoiceFinalizedV1,
    InvoicePaidV1,
    PaymentMethodChangedV1,
    PaymentReceivedV1,
)
from libs.common.contracts.metering import UsageWindowClosedV1
from libs.common.messaging.alarm import Alarm
from libs.common.messaging.due import DueJob, Job, Scheduler
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.billing.adapters.sandbox_gateway import SandboxGateway
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.bootstrap import build as build_billing
from services.billing.entrypoints.scheduler import billing_jobs
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.bootstrap import build as build_metering
from services.metering.entrypoints.scheduler import jobs as metering_jobs
from services.subscriptions.adapters import rows
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.bootstrap import build as build_subscriptions
from services.subscriptions.entrypoints.scheduler import jobs as subscriptions_jobs
from tests.integration.billing.workbench import LONG_AFTER, RETRY_DAYS, Workbench
from tests.integration.metering.harness import BusAsKnown, Metering
from tests.integration.metering.harness import Story as MeteringStory
from tests.integration.subscriptions.story import Story as SubscriptionsStory
from tests.support.billing import Story as BillingStory
from tests.support.clocks import FixedClock
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import new_tenant, service_under_test
from tests.support.small_service import background, eventually

BATCH = 10


class Counted:
    """A job in small batches, so that there is something left for the other; it counts what it did."""

    def __init__(self, job: Job) -> None:
        self.name, self._job, self.done = job.name, job, 0
        due = job if isinstance(job, DueJob) else getattr(job, "_due", None)
        if due is not None:
            due._batch_max = BATCH

    async def run_once(self) -> int:
        done = await self._job.run_once()
        self.done += done
        return done


@asynccontextmanager
async def two_schedulers(
    dsn: str, make_jobs: Callable[[Database], Sequence[Job]]
) -> AsyncIterator[list[dict[str, Counted]]]:
    """Both begin at the same moment; yields their jobs by name."""
    databases = [Database(dsn), Database(dsn)]
    jobs = [[Counted(job) for job in make_jobs(database)] for database in databases]
    schedulers = [Scheduler(mine, alarm=Alarm(), interval_s=0.05) for mine in jobs]
    try:
        async with background(*(scheduler.run for scheduler in schedulers)):
            yield [{job.name: job for job in mine} for mine in jobs]
    finally:
        for database in databases:
            await database.close()


@pytest.fixture(autouse=True)
def nothing_goes_wrong(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.WARNING)
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def both_took_part(workers: Sequence[dict[str, Counted]], name: str) -> None:
    assert all(worker[name].done for worker in workers), [worker[name].done for worker in workers]


async def test_subscriptions_are_renewed_once_for_each_period(
    postgres: PostgresForTests, tmp_path: Any
) -> None:
    async with service_under_test(postgres, "subscriptions", build_subscriptions, folder=tmp_path) as service:
        clock = FixedClock()
        story = SubscriptionsStory(service, new_tenant(), clock)
        await story.hear_of_tenant()
        await story.hear_of_plan()
        async with story.client() as client:
            customer = await story.customer(client)
            ids = [(await story.subscription(client, customer_id=customer["id"]))["id"] for _ in range(40)]
        clock.now = clock.now.replace(year=clock.now.year + 1)
        dsn = service.database.worker_dsn

        async def due() -> int:
            found = await story.rows(rows.subscription)
            return sum(row["due_at"] is not None and row["due_at"] <= clock.now for row in found)

        before = len(await story.rows(rows.billing_period))
        async with two_schedulers(
            dsn, lambda database: subscriptions_jobs(UnitsOfWork(database, SubscriptionsUnitOfWork), clock)
        ) as workers:
            await eventually(due, 0, timeout_s=60)
        both_took_part(workers, "renew_subscriptions")
        periods = Counter(row["subscription_id"] for row in await story.rows(rows.billing_period))
        renewed = sum(worker["renew_subscriptions"].done for worker in workers)
        assert renewed == sum(periods.values()) - before >= 300
        assert len(set(periods.values())) == 1
        told = Counter((row.aggregate_id, row.aggregate_version) for row in await story.events(*ids))
        assert set(told.values()) == {1}
        assert len(told) == sum(periods.values())


async def test_usage_windows_are_closed_once(postgres: PostgresForTests, tmp_path: Any) -> None:
    async with service_under_test(postgres, "metering", build_metering, folder=tmp_path) as service:
        metering = Metering(service, new_tenant())
        stories = [MeteringStory(metering.tenant) for _ in range(200)]
        await metering.hear(*(story.started() for story in stories))
        await metering.hear(*(story.renewed(1) for story in stories))

        async def closed() -> int:
            return len(await metering.said(UsageWindowClosedV1))

        async with two_schedulers(
            service.database.worker_dsn,
            lambda database: metering_jobs(
                UnitsOfWork(database, MeteringUnitOfWork), service.parts.platform.clock, BusAsKnown()
            ),
        ) as workers:
            await eventually(closed, 200, timeout_s=60)
            await asyncio.sleep(0.2)
        both_took_part(workers, "close_usage_windows")
        said = Counter(event["window_id"] for event in await metering.said(UsageWindowClosedV1))
        assert (len(said), set(said.values())) == (200, {1})
        await metering.client.aclose()


async def test_invoices_are_finalized_and_paid_once(postgres: PostgresForTests, tmp_path: Any) -> None:
    async with service_under_test(postgres, "billing", build_billing, folder=tmp_path) as service:
        bench, tenant = Workbench(service), new_tenant()
        stories = [BillingStory(tenant, metered=False) for _ in range(150)]
        await bench.hear(*(story.started() for story in stories))  # drafts that wait for a seller
        for story in stories:
            await bench.add_method(story)
        await bench.add_seller(tenant)

        def jobs(database: Database) -> Sequence[Job]:
            return billing_jobs(
                units=UnitsOfWork(database, BillingUnitOfWork),
                clock=FixedClock(LONG_AFTER),
                gateways={"sandbox": SandboxGateway(database)},
                retry_days=RETRY_DAYS,
                claim_s=30,
                calls_at_once=4,
                metering=bench.metering,
                spend_check_s=300,
            )

        async with two_schedulers(service.database.worker_dsn, jobs) as workers:
            await eventually(status_of(bench, tenant), {"paid": 150}, timeout_s=60)
        for name in ("finalize_invoices", "collect_payments"):
            both_took_part(workers, name)
            assert sum(worker[name].done for worker in workers) == 150
        told = Counter(
            (row["aggregate_id"], row["type"])
            for row in await bench.told(tenant)
            if row["type"] != PaymentMethodChangedV1.TYPE
        )
        assert set(told.values()) == {1}
        assert Counter(type for _, type in told) == {
            InvoiceFinalizedV1.TYPE: 150,
            InvoicePaidV1.TYPE: 150,
            PaymentReceivedV1.TYPE: 150,  # of the payment, whose id each has of its own
        }
        of_invoices = await bench.rows(
            "SELECT invoice_id, amount_minor FROM payment_allocation WHERE tenant = $1", tenant
        )
        due = {invoice["id"]: invoice["total_minor"] for invoice in await bench.invoices(tenant)}
        assert sorted((row["invoice_id"], row["amount_minor"]) for row in of_invoices) == sorted(due.items())
        numbers = sorted(invoice["number"] for invoice in await bench.invoices(tenant))
        assert numbers == [f"INV-{number:06}" for number in range(1, 151)]
        assert (await bench.audit()).ok


def status_of(bench: Workbench, tenant: str) -> Callable[[], Awaitable[dict[str, int]]]:
    async def ask() -> dict[str, int]:
        return dict(Counter(invoice["status"] for invoice in await bench.invoices(tenant)))

    return ask

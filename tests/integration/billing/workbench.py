"""Billing at work in a test: it hears events as from the bus, its jobs run when told, its tables can be looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import asyncpg

from libs.common.clock import Clock
from libs.common.contracts import topic_of
from libs.common.contracts.catalog import TenantChangedV1
from libs.common.contracts.envelope import Envelope, Event
from libs.common.contracts.subscriptions import CustomerChangedV1
from libs.common.ids import new_id
from libs.common.messaging.bus import Delivery
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.due import Job
from libs.common.persistence.audit import AuditCheck, AuditReport
from libs.common.persistence.session import asyncpg_dsn
from libs.common.stopping import Stopping
from services.billing.adapters.audit import audit_billing
from services.billing.adapters.metering_peer import WindowSoFar
from services.billing.adapters.sandbox_gateway import SandboxGateway
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import AddPaymentMethod, add_payment_method
from services.billing.application.create_seller import CreateSeller, create_seller
from services.billing.application.gateway_ports import Gateways
from services.billing.domain.payment import PaymentMethod
from services.billing.domain.seller import Seller
from services.billing.entrypoints.event_handlers import HANDLERS
from services.billing.entrypoints.scheduler import billing_jobs
from tests.support.billing import Story
from tests.support.clocks import FixedClock
from tests.support.service_under_test import ServiceUnderTest, UnusedBus

LONG_AFTER = datetime(2030, 1, 1, tzinfo=UTC)
RETRY_DAYS = (1, 3)
SPEND_CHECK_S = 300

_offsets = count()


def delivered(event: Event, *, traceparent: str | None = None, id: str | None = None) -> Delivery:
    """The event as the bus would hand it over; the same `id` is the same message again."""
    service = event.TYPE.split(".")[1]
    envelope = Envelope(
        id=id or new_id("evt"),
        type=event.TYPE,
        source=f"/perennial/{service}",
        tenant=event.tenant,
        aggregate_id="agg_1",
        aggregate_version=event.version,
        occurred_at=event.occurred_at,
        test_clock=event.test_clock,
        traceparent=traceparent,
        data=event.model_dump_json().encode(),
    )
    headers = envelope.headers(hop_traceparent=None)
    return Delivery(topic_of(service), 0, next(_offsets), envelope.key, headers, envelope.data)


class MeteringSaid:
    """Metering, as the test has it say how much was used so far, by subscription; nothing unless told."""

    def __init__(self) -> None:
        self.windows: dict[str, list[WindowSoFar]] = {}
        self.asked: list[str] = []

    async def usage_so_far(self, tenant: str, subscription_id: str) -> list[WindowSoFar]:
        self.asked.append(subscription_id)
        return self.windows.get(subscription_id, [])


class Workbench:
    def __init__(self, service: ServiceUnderTest, *, clock: Clock | None = None) -> None:
        self.service = service
        self.units = service.parts.worker_units
        self.clock = clock or FixedClock(LONG_AFTER)
        self.gateway = SandboxGateway(service.parts.worker_database)
        self.metering = MeteringSaid()

    async def hear(self, *events: Event, traceparent: str | None = None) -> None:
        """All in one batch; none may fail."""
        await self.hear_deliveries([delivered(event, traceparent=traceparent) for event in events])
        assert await self.failures({event.tenant for event in events}) == []

    async def hear_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        consumer = Consumer(
            service="billing", group=HANDLERS, bus=UnusedBus(), units=self.units, member="test"
        )
        await consumer.apply(deliveries)

    async def failures(self, tenants: set[str]) -> list[str]:
        found = await self.rows(
            "SELECT error FROM message_failure WHERE tenant = ANY($1::text[])", sorted(tenants)
        )
        return [row["error"] for row in found]

    def jobs(
        self,
        *,
        clock: Clock | None = None,
        gateways: Gateways | None = None,
        calls_at_once: int = 8,
        stopping: Stopping | None = None,
    ) -> tuple[Job, Job]:
        """Those that finalize invoices, and collect payments: a worker of its own each time."""
        finalize, collect, *_ = billing_jobs(
            units=self.units,
            clock=clock or self.clock,
            gateways=gateways or {"sandbox": self.gateway},
            retry_days=RETRY_DAYS,
            claim_s=30,
            calls_at_once=calls_at_once,
            metering=self.metering,
            spend_check_s=SPEND_CHECK_S,
            stopping=stopping,
        )
        return finalize, collect

    async def run_job(self, name: str, *, clock: Clock | None = None) -> int:
        """Turns of one job, by a worker of its own, until nothing is due; returns how many rows were done."""
        jobs = billing_jobs(
            units=self.units,
            clock=clock or self.clock,
            gateways={"sandbox": self.gateway},
            retry_days=RETRY_DAYS,
            claim_s=30,
            calls_at_once=8,
            metering=self.metering,
            spend_check_s=SPEND_CHECK_S,
        )
        job = next(job for job in jobs if job.name == name)
        done = 0
        while turn := await job.run_once():
            done += turn
        return done

    async def collect(self, *, clock: Clock | None = None, gateways: Gateways | None = None) -> int:
        """One turn of the payment job."""
        return await self.jobs(clock=clock, gateways=gateways)[1].run_once()

    async def add_seller(self, tenant: str, code: str = "main", **settings: Any) -> Seller:
        plain = {"name": "Engines Inc.", "country": "US", "number_prefix": "INV-", "payment_terms_days": 14}
        command = CreateSeller(code=code, **{**plain, **settings})
        async with self.units.open(tenant, "token:test") as uow:
            return await create_seller(command, now=self.clock.system_now(), uow=uow)

    async def add_method(self, story: Story, behaviour: str = "succeeds") -> PaymentMethod:
        command = AddPaymentMethod(
            customer_id=story.customer.customer_id,
            gateway="sandbox",
            behaviour=behaviour,
            tenant_mode="sandbox",
        )
        async with self.units.open(story.tenant, "token:test") as uow:
            return await add_payment_method(command, now=self.clock.system_now(), uow=uow)

    async def know_tenant(self, tenant: str, mode: str = "sandbox") -> None:
        await self.hear(
            TenantChangedV1(tenant=tenant, name="Engines", mode=mode, occurred_at=self.clock.system_now())
        )

    async def know_customer(self, story: Story) -> None:
        now = self.clock.system_now()
        await self.hear(CustomerChangedV1(tenant=story.tenant, occurred_at=now, customer=story.customer))

    @asynccontextmanager
    async def open(self, tenant: str) -> AsyncIterator[BillingUnitOfWork]:
        async with self.units.open(tenant, "token:test") as uow:
            yield uow

    async def rows(self, sql: str, *arguments: Any) -> list[Mapping[str, Any]]:
        """Seen by a superuser: all tenants."""
        async with self.admin() as admin:
            return [dict(row) for row in await admin.fetch(sql, *arguments)]

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        connection = await asyncpg.connect(asyncpg_dsn(self.service.database.admin_dsn))
        try:
            yield connection
        finally:
            await connection.close()

    async def invoices(self, tenant: str) -> list[Mapping[str, Any]]:
        """In the order of their boundaries."""
        return await self.rows("SELECT * FROM invoice WHERE tenant = $1 ORDER BY boundary_at, id", tenant)

    async def lines(self, tenant: str) -> list[tuple[str, int]]:
        """Description and net of every line that was issued, invoice by invoice."""
        found = await self.rows(
            """SELECT l.description, l.net_minor FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
               WHERE l.tenant = $1 ORDER BY i.boundary_at, i.id, l.ordinal""",
            tenant,
        )
        return [(row["description"], row["net_minor"]) for row in found]

    async def attempts(self, tenant: str) -> list[Mapping[str, Any]]:
        return await self.rows(
            "SELECT * FROM payment_attempt WHERE tenant = $1 ORDER BY created_at, invoice_id, number", tenant
        )

    async def told(self, tenant: str) -> list[Mapping[str, Any]]:
        """What went into the outbox."""
        return await self.rows("SELECT * FROM outbox WHERE tenant = $1 ORDER BY position", tenant)

    async def audit(self) -> AuditReport:
        return await audit_billing(self.service.parts.audit_database)

    async def what_is_wrong(self) -> list[AuditCheck]:
        """What the audit finds once all payments that are due were tried."""
        await self.run_job("collect_payments")
        return [check for check in (await self.audit()).checks if not check.ok]


def after(instant: datetime, **time: float) -> FixedClock:
    """A wall clock that stands a while after the instant."""
    return FixedClock(instant + timedelta(**time))

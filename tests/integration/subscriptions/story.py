"""What the tests of this folder do again and again: hear, ask, and let the scheduler look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import httpx
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from libs.common.clock import Clock
from libs.common.contracts.billing import (
    InvoicePaidV1,
    InvoiceV1,
    PaymentFailedV1,
    PaymentMethodChangedV1,
)
from libs.common.contracts.catalog import (
    PlanPublishedV1,
    PlanRetiredV1,
    PlanV1,
    PlanVersionSalesChangedV1,
    TenantChangedV1,
)
from libs.common.contracts.envelope import Event
from libs.common.messaging.due import Job
from services.subscriptions.adapters import rows
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.entrypoints import scheduler
from services.subscriptions.entrypoints.event_handlers import HANDLERS
from tests.support.service_under_test import ServiceUnderTest
from tests.support.subscriptions import MINUTES, NOW, a_plan

BOTH = ("subscriptions:read", "subscriptions:write", "clocks:read", "clocks:write")


def key() -> dict[str, str]:
    return {"idempotency-key": uuid4().hex}


def version(number: int) -> dict[str, str]:
    return {"if-match": f'"{number}"'}


class Story:
    """One tenant of the service under test."""

    def __init__(self, service: ServiceUnderTest, tenant: str, clock: Clock) -> None:
        self.service, self.tenant, self.clock = service, tenant, clock
        self.plan = a_plan(plan_version_id=_plan_version_id(tenant), plan_id=f"pln_{tenant}")

    def client(self, *scopes: str, **claims: Any) -> httpx.AsyncClient:
        return self.service.client(self.tenant, *(scopes or BOTH), **claims)

    async def hear(self, *events: Event) -> None:
        """Handle the events in one transaction, as the consumer does."""
        uow: SubscriptionsUnitOfWork
        async with self.service.parts.worker_units.open(self.tenant, "event:test") as uow:
            await HANDLERS.prepare(events, uow)
            for event in events:
                await HANDLERS.handle[type(event)](event, uow)

    async def hear_of_tenant(self, mode: Literal["live", "sandbox"] = "sandbox") -> None:
        await self.hear(TenantChangedV1(tenant=self.tenant, occurred_at=NOW, name="Cloudhop", mode=mode))

    async def hear_of_plan(self, plan: PlanV1 | None = None) -> None:
        await self.hear(PlanPublishedV1(tenant=self.tenant, occurred_at=NOW, plan=plan or self.plan))

    async def hear_of_retirement(self) -> None:
        await self.hear(PlanRetiredV1(tenant=self.tenant, occurred_at=NOW, plan_id=self.plan.plan_id))

    async def hear_of_sale(
        self, plan: PlanV1, status: Literal["published", "withdrawn", "archived"], *, version: int
    ) -> None:
        event = PlanVersionSalesChangedV1(
            tenant=self.tenant,
            version=version,
            occurred_at=NOW,
            plan_id=plan.plan_id,
            plan_version_id=plan.plan_version_id,
            plan_version=plan.plan_version,
            status=status,
        )
        await self.hear(event)

    async def hear_of_payment_method(self, customer_id: str) -> None:
        event = PaymentMethodChangedV1(
            tenant=self.tenant, occurred_at=NOW, customer_id=customer_id, has_payment_method=True
        )
        await self.hear(event)

    def failed(
        self, subscription_id: str, invoice_id: str, *, next_attempt_at: datetime | None = None
    ) -> PaymentFailedV1:
        """Without a next attempt, it was the last one."""
        return PaymentFailedV1(
            tenant=self.tenant,
            occurred_at=NOW,
            invoice=_invoice(subscription_id, invoice_id),
            attempt_id="pay_1",
            attempt_number=1,
            reason="card declined",
            next_attempt_at=next_attempt_at,
        )

    def paid(self, subscription_id: str, invoice_id: str) -> InvoicePaidV1:
        return InvoicePaidV1(
            tenant=self.tenant, occurred_at=NOW, invoice=_invoice(subscription_id, invoice_id)
        )

    async def customer(self, client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
        given = {"name": "Delta Air Lines", "zone": "America/New_York", **body}
        return await _made(await client.post("/v1/customers", json=given))

    async def subscription(self, client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
        given = {"plan": self.plan.code, "starts_on": "2025-01-31", **body}
        given["customer_id"] = given.get("customer_id") or (await self.customer(client))["id"]
        return await _made(await client.post("/v1/subscriptions", json=given, headers=key()))

    async def test_clock(self, client: httpx.AsyncClient, starts_at: str) -> dict[str, Any]:
        body = {"name": "2025", "starts_at": starts_at}
        return await _made(await client.post("/v1/test-clocks", json=body))

    async def bind(self, client: httpx.AsyncClient, *bindings: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await client.post("/v1/subject-bindings", json={"bindings": list(bindings)})
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def job(self) -> Job:
        return scheduler.jobs(self.service.parts.worker_units, self.clock)[0]

    async def events(self, *about: str) -> Sequence[Any]:
        """The outbox rows of these aggregates, or all of the tenant's, in order."""
        outbox = rows.shared.outbox
        statement = select(outbox).where(outbox.c.tenant == self.tenant).order_by(outbox.c.position)
        if about:
            statement = statement.where(outbox.c.aggregate_id.in_(about))
        async with self.service.parts.worker_units.open(self.tenant, "test") as uow:
            return list((await uow.connection.execute(statement)).all())

    async def types(self, *about: str) -> list[str]:
        """`subscription.started` and so on."""
        return [".".join(row.type.split(".")[2:-1]) for row in await self.events(*about)]

    async def rows(self, table: Table) -> Sequence[Any]:
        async with self.service.parts.worker_units.open(self.tenant, "test") as uow:
            return list((await uow.connection.execute(select(table))).mappings())

    async def plan_of(self, statement: str) -> list[str]:
        """How the database would answer it to this tenant, if reading whole tables were dear."""
        async with self.service.parts.worker_units.open(self.tenant, "test") as uow:
            await uow.connection.execute(text("SET LOCAL enable_seqscan = off"))
            return list((await uow.connection.execute(text(f"EXPLAIN {statement}"))).scalars())

    async def as_admin(self, statement: str, **parameters: Any) -> None:
        """Do what no role of the service may."""
        engine = create_async_engine(self.service.database.admin_dsn)
        try:
            async with engine.begin() as connection:
                await connection.execute(text(statement), parameters)
        finally:
            await engine.dispose()


def a_binding_of(item_id: str, subject: str = "N14228", **changes: Any) -> dict[str, Any]:
    return {
        "subject": subject,
        "meter": MINUTES,
        "item_id": item_id,
        "bound_from": "2025-01-01T00:00:00Z",
        **changes,
    }


def usage_item(subscription: dict[str, Any]) -> str:
    [id] = [item["id"] for item in subscription["items"] if item["kind"] == "usage"]
    return str(id)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _plan_version_id(tenant: str) -> str:
    """As the catalog's are, and another for each tenant."""
    return "plv_" + tenant.replace("-", "")[:26]


def _invoice(subscription_id: str, invoice_id: str) -> InvoiceV1:
    return InvoiceV1(
        invoice_id=invoice_id,
        number="2025-1",
        subscription_id=subscription_id,
        customer_id="cus_1",
        currency="USD",
        total_minor=100,
        boundary_at=NOW,
    )


def pointers(answer: httpx.Response) -> list[str]:
    """Where a refused body is wrong."""
    return [error.get("pointer", "") for error in answer.json()["errors"]]

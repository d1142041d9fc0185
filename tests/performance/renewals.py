"""Thousands of subscriptions that live by one test clock, and a month of theirs that passes at a word."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import httpx

from deploy.local.sandbox import TENANT
from libs.common.clock import SystemClock
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.start_subscription import StartSubscription, start_subscription
from tests.performance.bare_rows import transaction_id
from tests.performance.bench import Subject
from tests.performance.events import SOURCE
from tests.performance.load import Load, send

METER = "bench-minutes"
PLAN = "bench-plan"
STARTS_ON = date(2025, 1, 1)
CLOCK_STARTS_AT = datetime(2024, 12, 31, 12, tzinfo=UTC)
CUSTOMERS = 100
BINDINGS_A_BATCH = 1_000
SUBSCRIPTIONS_A_BATCH = 500
LOOK_EVERY_S = 0.2
TIMEOUT_S = 900
GRACE = timedelta(hours=1)

_PLAN: dict[str, Any] = {
    "code": PLAN,
    "name": "Machines by the minute",
    "currency": "EUR",
    "interval": {"unit": "month", "count": 1},
    "prices": [
        {
            "code": "machine",
            "product": "bench-product",
            "description": "The machine",
            "kind": "recurring",
            "timing": "advance",
            "model": "per_unit",
            "unit_amount": "49.00",
        },
        {
            "code": "minutes",
            "product": "bench-product",
            "description": "Its minutes",
            "kind": "usage",
            "timing": "arrears",
            "model": "graduated",
            "meter": METER,
            "tiers": [{"up_to": "1000", "unit_amount": "0.25"}, {"unit_amount": "0.20"}],
        },
    ],
}


@dataclass(frozen=True, slots=True)
class Month:
    """How long it took. `finalized_s`: until every invoice had its number; `at_rest_s`: until all was paid and told.

    What was written by then has transaction ids below `finalized_by`.
    """

    finalized_s: float
    finalized_by: int
    at_rest_s: float


class Renewals:
    """`count` subscriptions: an amount in advance and minutes in arrears, each with a machine that reports.

    The first invoice has `lines_each` lines: so many amounts are paid in advance.
    """

    def __init__(self, subject: Subject, count: int, *, lines_each: int = 1) -> None:
        self.subject, self.count, self.lines_each = subject, count, lines_each
        self.ids: list[str] = []
        self._clock_id = ""
        self._months = 0

    async def prepare(self, *, finalizes: bool = True) -> None:
        """Offer, customers, subscriptions and bindings; the clock stands after the first boundary.

        Unless it `finalizes`, the first invoices wait for a billing run.
        """
        async with self.subject.client() as client:
            await _post(
                client, "/v1/products", {"code": "bench-product", "name": "Machine", "kind": "service"}
            )
            await _post(
                client,
                "/v1/meters",
                {"code": METER, "event_type": METER, "aggregation": "sum", "value": "/minutes"},
            )
            plan = await _post(client, "/v1/plans", _plan(self.lines_each))
            await _post(client, f"/v1/plans/{plan['id']}/publications", {})
            seller = {
                "code": "bench-seller",
                "name": "Bench Seller",
                "country": "DE",
                "number_prefix": "B-",
                "payment_terms_days": 14,
            }
            await _post(client, "/v1/sellers", seller)
            clock = await _post(
                client, "/v1/test-clocks", {"name": "bench", "starts_at": CLOCK_STARTS_AT.isoformat()}
            )
            self._clock_id = clock["id"]
            customers = [await self._make_customer(client, n) for n in range(min(CUSTOMERS, self.count))]
        self.ids = await self._subscribe(customers)
        load = Load(
            port=self.subject.port,
            path="/v1/subject-bindings",
            make=partial(_binding_bodies, self.ids),
            token=self.subject.process.token,
            media_type="application/json",
            connections=1,
        )
        await send(load)
        if finalizes:
            await self.pass_month()  # the first boundary: every subscription begins
            return
        async with self.subject.client() as client:
            settings = {"requires_run": True}
            answer = await client.put("/v1/billing-run-settings", json=settings, headers={"if-match": "*"})
            assert answer.status_code == 200, answer.text
        await self.move_clock(_month(0) + GRACE * 2)

    async def pass_month(self) -> Month:
        """The machines report, then the clock goes over the next boundary and past the grace."""
        boundary = _month(self._months)
        if self._months:
            await self._report(boundary - timedelta(days=10))
        self._months += 1
        began = time.monotonic()
        moved = asyncio.create_task(self.move_clock(boundary + GRACE * 2))
        await self._until_finalized(boundary)
        finalized_s = time.monotonic() - began
        finalized_by = await transaction_id(self.subject.dsn())
        await moved
        return Month(finalized_s, finalized_by, time.monotonic() - began)

    async def pass_minute(self) -> float:
        """The clock moves on a little, and nothing is due; the seconds that took."""
        async with self.subject.client() as client:
            clock = (await client.get(f"/v1/test-clocks/{self._clock_id}")).json()
        to = datetime.fromisoformat(clock["now"]) + timedelta(minutes=1)
        began = time.monotonic()
        await self.move_clock(to)
        return time.monotonic() - began

    async def move_clock(self, to: datetime) -> None:
        async with self.subject.client() as client:
            path = f"/v1/test-clocks/{self._clock_id}/moves"
            move = await _post(client, path, {"to": to.isoformat()})
            give_up_at = time.monotonic() + TIMEOUT_S
            while move["state"] != "arrived":
                assert time.monotonic() < give_up_at, move
                await asyncio.sleep(LOOK_EVERY_S)
                move = (await client.get(f"{path}/{move['id']}")).json()

    async def _until_finalized(self, boundary: datetime) -> None:
        give_up_at = time.monotonic() + TIMEOUT_S
        async with self.subject.admin("perennial_billing") as admin:
            while True:
                found = await admin.fetchval(
                    "SELECT count(*) FROM invoice WHERE boundary_at = $1 AND number IS NOT NULL", boundary
                )
                if found == self.count:
                    return
                assert time.monotonic() < give_up_at, f"{found} of {self.count} invoices"
                await asyncio.sleep(LOOK_EVERY_S * 2)

    async def _report(self, at: datetime) -> None:
        """An event of each machine, in batches."""
        await send(
            self.subject.load(
                partial(_report_bodies, self.count, at), media_type="application/cloudevents-batch+json"
            )
        )

    async def _make_customer(self, client: httpx.AsyncClient, n: int) -> str:
        body = {"name": f"Customer {n}", "country": "DE", "currency": "EUR", "zone": "Europe/Berlin"}
        customer = await _post(client, "/v1/customers", body)
        method = {"customer_id": customer["id"], "gateway": "sandbox", "behaviour": "succeeds"}
        await _post(client, "/v1/payment-methods", method)
        return str(customer["id"])

    async def _subscribe(self, customers: list[str]) -> list[str]:
        """By the use case itself, many in one transaction: over HTTP it would take longer than what is measured."""
        database = Database(self.subject.sqlalchemy_dsn("perennial_subscriptions"))
        units = UnitsOfWork(database, SubscriptionsUnitOfWork)
        clock = SystemClock()
        ids: list[str] = []
        while len(ids) < self.count:
            async with units.open(TENANT, "bench") as uow:
                for n in range(len(ids), min(len(ids) + SUBSCRIPTIONS_A_BATCH, self.count)):
                    command = StartSubscription(
                        customer_id=customers[n % len(customers)],
                        plan_code=PLAN,
                        quantities={price["code"]: Decimal(1) for price in _recurring(self.lines_each)},
                        starts_on=STARTS_ON,
                        zone="UTC",
                        test_clock_id=self._clock_id,
                    )
                    ids.append((await start_subscription(command, uow=uow, clock=clock)).id)
        await database.close()
        return ids


def _recurring(lines_each: int) -> list[dict[str, Any]]:
    """The machine, and whatever else is paid for with it."""
    machine = _PLAN["prices"][0]
    further = [{**machine, "code": f"part-{n}", "description": f"Part {n}"} for n in range(1, lines_each)]
    return [machine, *further]


def _plan(lines_each: int) -> dict[str, Any]:
    return {**_PLAN, "prices": [*_recurring(lines_each), *_PLAN["prices"][1:]]}


def _month(index: int) -> datetime:
    """The n-th boundary: periods begin at midnight UTC."""
    return datetime(2025 + index // 12, index % 12 + 1, 1, tzinfo=UTC)


def _binding_bodies(ids: list[str]) -> list[bytes]:
    bindings = [
        {
            "subject": f"machine-{n}",
            "meter": METER,
            "subscription_id": id,
            "bound_from": f"{STARTS_ON}T00:00:00Z",
        }
        for n, id in enumerate(ids)
    ]
    cuts = range(0, len(bindings), BINDINGS_A_BATCH)
    return [json.dumps({"bindings": bindings[cut : cut + BINDINGS_A_BATCH]}).encode() for cut in cuts]


def _report_bodies(count: int, at: datetime) -> list[bytes]:
    events = [
        json.dumps(
            {
                "specversion": "1.0",
                "id": f"{at.date()}-{n}",
                "source": SOURCE,
                "type": METER,
                "subject": f"machine-{n}",
                "time": at.isoformat(),
                "data": {"minutes": n % 3_000},
            }
        )
        for n in range(count)
    ]
    return [f"[{','.join(events[cut : cut + 500])}]".encode() for cut in range(0, count, 500)]


async def _post(client: httpx.AsyncClient, path: str, body: Any) -> dict[str, Any]:
    headers = {"idempotency-key": str(uuid4())}
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code in (200, 201, 202), answer.text
    made: dict[str, Any] = answer.json()
    return made

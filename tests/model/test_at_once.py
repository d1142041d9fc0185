"""Random lives over HTTP against the running services: every command comes twice at once, and happens once.

Several customers share a clock and are served side by side. In the end all that was charged is held against the reference
model, and the audit finds nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import pytest_asyncio

from libs.cli.audit import findings_of
from libs.common.contracts import SERVICES
from libs.common.ids import new_id
from tests.model import agreement as model
from tests.model.agreement import Agreement, Plan, Planned, Price, Refused, Wish
from tests.model.calendar import DAY, day_begins, day_of
from tests.model.money import Tariff, owed
from tests.support.all_services import AllServices, all_services
from tests.support.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

Record = Callable[[str, object], None]
ZONES = ("Europe/Amsterdam", "Pacific/Tongatapu", "Pacific/Pago_Pago", "Asia/Kathmandu")
STARTS_AT = datetime(2026, 1, 31, 15, tzinfo=UTC)
ONE = Decimal(1)


def a_plan(code: str, **prices: Tariff) -> Plan:
    return Plan(code, "month", 1, {name: Price(f"{code}.{name}", "recurring") for name in prices})


SOLD = {
    "basic": {"seats": Tariff("recurring", unit=Decimal("12.34"))},
    "pro": {
        "seats": Tariff("recurring", unit=Decimal("20.10")),
        "support": Tariff("recurring", fee=Decimal("49.95")),
    },
    "backup": {"vault": Tariff("recurring", unit=Decimal("3.10"))},
}
PLANS = {code: a_plan(code, **prices) for code, prices in SOLD.items()}
TARIFFS = {f"{code}.{name}": tariff for code, prices in SOLD.items() for name, tariff in prices.items()}


def _offered(code: str) -> dict[str, Any]:
    """The plan as it is imported."""
    prices = []
    for name, tariff in SOLD[code].items():
        of_model = {"model": "per_unit", "unit_amount": str(tariff.unit)}
        if tariff.fee is not None:
            of_model = {"model": "flat", "unit_amount": str(tariff.fee)}
        prices.append({"code": name, "product": "thing", "kind": "recurring", **of_model})
    plan = {"code": code, "name": code.title(), "currency": "EUR", "interval": {"unit": "month"}}
    return {**plan, "prices": prices, "publish": True}


CATALOG = {
    "perennial_catalog": 1,
    "products": [{"code": "thing", "name": "Thing", "kind": "service"}],
    "plans": [
        _offered("basic"),
        _offered("pro"),
        {**_offered("backup"), "kind": "add_on", "for_plans": ["basic", "pro"]},
    ],
}


@dataclass
class Market:
    """A tenant with a clock, and how many commands there were."""

    client: httpx.AsyncClient
    clock_id: str = ""
    now: datetime = STARTS_AT
    steps: int = 0

    async def twice(self, path: str, body: Any) -> httpx.Response:
        """The same command twice at the same time: both get the one answer, or one has to ask again for it."""
        headers = {"idempotency-key": new_id("key")}
        self.steps += 1
        answers = await asyncio.gather(*(self._settled(path, body, headers) for _ in range(2)))
        assert answers[0].status_code == answers[1].status_code, [answer.text for answer in answers]
        if answers[0].is_success:
            assert answers[0].json() == answers[1].json()
        return answers[0]

    async def _settled(self, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        for _ in range(200):
            answer = await self.client.post(path, json=body, headers=headers)
            assert answer.status_code < 500, f"{path} {body}: {answer.text}"
            if answer.status_code != 409 or answer.json()["code"] != "idempotency_in_progress":
                return answer
            await asyncio.sleep(0.02)
        raise AssertionError(f"{path} never ends")

    async def make(self, path: str, body: Any) -> dict[str, Any]:
        answer = await self.twice(path, body)
        assert answer.is_success, f"{path} {body}: {answer.text}"
        made: dict[str, Any] = answer.json()
        return made

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def move_to(self, instant: datetime) -> None:
        self.now = instant
        move = await self.make(f"/v1/test-clocks/{self.clock_id}/moves", {"to": instant.isoformat()})
        for _ in range(3000):
            if move["state"] == "arrived":
                return
            await asyncio.sleep(0.02)
            move = await self.get(f"/v1/test-clocks/{self.clock_id}/moves/{move['id']}")
        raise AssertionError(f"the clock does not arrive: {move}")


@dataclass
class Customer:
    """One subscription after the other, each beside its model."""

    market: Market
    chance: Random
    zone: str
    id: str = ""
    subscription_id: str = ""
    known: list[Agreement] = field(default_factory=list)

    @property
    def model(self) -> Agreement:
        return self.known[-1]

    @property
    def today(self) -> date:
        return day_of(self.market.now, self.zone)

    async def arrive(self) -> None:
        body = {"name": "Somebody", "zone": self.zone, "country": "NL"}
        self.id = (await self.market.make("/v1/customers", body))["id"]
        method = {"customer_id": self.id, "gateway": "sandbox", "behaviour": "succeeds"}
        await self.market.make("/v1/payment-methods", method)
        await self.subscribe()

    async def subscribe(self) -> None:
        plan = PLANS[self.chance.choice(["basic", "pro"])]
        seats = Decimal(self.chance.randint(0, 9))
        starts_on = self.today - self.chance.choice([0, 0, 3, 20]) * DAY
        body = {
            "customer_id": self.id,
            "plan": plan.code,
            "zone": self.zone,
            "starts_on": starts_on.isoformat(),
            "quantities": {"seats": str(seats)},
            "test_clock_id": self.market.clock_id,
        }
        self.subscription_id = (await self.market.make("/v1/subscriptions", body))["id"]
        self.known.append(model.agreed(plan, {"seats": seats}, zone=self.zone, starts_on=starts_on))
        self.model.run_to(self.market.now)

    async def ask(self, path: str, body: Any, do: Callable[[], None]) -> None:
        """The services do what the model does, and refuse what it refuses."""
        answer = await self.market.twice(f"/v1/subscriptions/{self.subscription_id}/{path}", body)
        told = f"{path} {body}: {answer.status_code} {answer.text}"
        try:
            do()
        except Refused:
            assert answer.is_client_error, told
        else:
            assert answer.is_success, told

    async def do_something(self) -> None:
        if self.model.over:
            await self.subscribe()
            return
        settle = self.chance.choice(["at_once", "next_invoice"])
        kinds = ["quantity"] * 3 + ["plan", "add_on", "back", "later", "boundary", "pause", "resume", "end"]
        await getattr(self, f"_{self.chance.choice(kinds)}")(settle)

    async def _change(self, settle: str, wish: Wish, when: Any, body: dict[str, Any]) -> None:
        now = self.market.now
        at = now if when == "now" else day_begins(when, self.zone)
        said = when if when == "now" else {"on": when.isoformat()}
        await self.ask(
            "changes",
            {"when": said, "settle": settle, **body},
            lambda: self.model.change_now(wish, at, now),
        )

    async def _quantity(self, settle: str, when: Any = "now") -> None:
        seats = Decimal(self.chance.randint(0, 9))
        wish = Wish(quantities={"seats": seats})
        await self._change(settle, wish, when, {"quantities": {"seats": str(seats)}})

    async def _back(self, settle: str) -> None:
        begun_on = day_of(self.model.start, self.zone)
        await self._quantity(settle, max(self.today - self.chance.choice([1, 5, 33]) * DAY, begun_on))

    async def _plan(self, settle: str) -> None:
        plan = PLANS[self.chance.choice(["basic", "pro"])]
        await self._change(settle, Wish(plan=plan), "now", {"plan": plan.code})

    async def _add_on(self, settle: str) -> None:
        if self.chance.random() < 0.4:
            await self._change(settle, Wish(removes=("backup",)), "now", {"remove": ["backup"]})
            return
        boxes = Decimal(self.chance.randint(1, 5))
        wish = Wish(add_ons=((PLANS["backup"], {"vault": boxes}),))
        add = [{"plan": "backup", "quantities": {"vault": str(boxes)}}]
        await self._change(settle, wish, "now", {"add": add})

    async def _waits(self, when: Any, at: datetime | None) -> None:
        seats = Decimal(self.chance.randint(0, 9))
        wish = Wish(quantities={"seats": seats})
        await self.ask(
            "changes",
            {"when": when, "quantities": {"seats": str(seats)}},
            lambda: self.model.planned.append(Planned(new_id("sch"), at, wish)),
        )

    async def _later(self, settle: str) -> None:
        on = self.today + self.chance.randint(1, 30) * DAY
        if self.model.ends_at is None:
            await self._waits({"on": on.isoformat()}, day_begins(on, self.zone))

    async def _boundary(self, settle: str) -> None:
        if self.model.ends_at is None:
            await self._waits("period_end", None)

    async def _pause(self, settle: str) -> None:
        now = self.market.now
        await self.ask("pause", {"settle": settle}, lambda: self.model.pause(now, None, None, now))

    async def _resume(self, settle: str) -> None:
        now = self.market.now
        await self.ask("resumption", {"settle": settle}, lambda: self.model.resume(now))

    async def _end(self, settle: str) -> None:
        if self.chance.random() < 0.5:
            end = self.model.period.end
            await self.ask(
                "cancellation",
                {"at_period_end": True},
                lambda: self.model.cancel(end, "none", self.market.now),
            )
        elif self.chance.random() < 0.3:
            await self.leave(self.chance.choice(["none", "prorated", "full"]))

    async def leave(self, credit: Any) -> None:
        await self.ask(
            "cancellation",
            {"at_period_end": False, "credit": credit},
            lambda: self.model.cancel(self.market.now, credit, self.market.now),
        )

    async def check(self) -> None:
        """All invoices together come to what was agreed on, to half a cent a line."""
        listed = await self.market.get("/v1/invoices", customer_id=self.id, limit="200")
        charged, lines = Fraction(0), 0
        for one in listed["data"]:
            if one["status"] == "void":
                continue
            assert one["status"] in ("finalized", "paid"), one
            invoice = await self.market.get(f"/v1/invoices/{one['id']}")
            charged += Fraction(invoice["total"]["amount"]) * 100
            lines += len(invoice["lines"])
        periods = [(known, period) for known in self.known for period in known.periods]
        fees = [owed(known, period, TARIFFS) for known, period in periods]
        expected = sum((amount for of_period in fees for amount in of_period.values()), Fraction(0))
        assert abs(charged - expected) <= Fraction(lines, 2), (
            self.id,
            float(charged),
            float(expected),
            lines,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AllServices]:
    folder: Path = tmp_path_factory.mktemp("at_once")
    async with all_services(postgres, folder=folder) as running:
        yield running


async def live(services: AllServices, *, steps: int, seed: int) -> int:
    """Rounds of commands, and time that goes on between them, until there were so many steps."""
    tenant = await services.make_tenant()
    headers = {"authorization": f"Bearer {services.token(tenant)}"}
    async with httpx.AsyncClient(
        base_url=services.base_url, headers=headers, timeout=60, trust_env=False
    ) as client:
        market = Market(client)
        seller = {"code": "s", "name": "Seller", "country": "NL", "number_prefix": "S-"}
        await market.make("/v1/sellers", seller)
        await market.make("/v1/catalog-imports?dry_run=false", CATALOG)
        clock = {"name": "At once", "starts_at": STARTS_AT.isoformat()}
        market.clock_id = (await market.make("/v1/test-clocks", clock))["id"]
        chance = Random(seed)
        customers = [Customer(market, Random(chance.random()), chance.choice(ZONES)) for _ in range(8)]
        await asyncio.gather(*(customer.arrive() for customer in customers))
        while market.steps < steps:
            await market.move_to(market.now + timedelta(hours=chance.choice([0, 1, 20, 24 * 5, 24 * 17])))
            for customer in customers:
                customer.model.run_to(market.now)
            for _ in range(6):
                await asyncio.gather(*(customer.do_something() for customer in customers))
        await market.move_to(market.now + DAY)
        for customer in customers:
            customer.model.run_to(market.now)
        await asyncio.gather(*(c.leave("prorated") for c in customers if not c.model.over))
        await market.move_to(market.now + 40 * DAY)
        for customer in customers:
            await customer.check()
        return market.steps


async def find_problems(services: AllServices) -> dict[str, Any]:
    async with services.client(None) as operator:
        reports = {
            service: (await operator.get(f"/v1/{service}-operations/audit")).json() for service in SERVICES
        }
    return {finding.name: finding.problems for finding in findings_of(reports) if not finding.ok}


async def test_a_hundred_commands_that_come_twice_at_once(
    services: AllServices, record_property: Record
) -> None:
    steps = await live(services, steps=100, seed=2026)
    record_property("figures", f"{steps} commands, each twice at once, agree with the reference model")
    assert await find_problems(services) == {}


@pytest.mark.long
async def test_five_thousand_commands_that_come_twice_at_once(
    services: AllServices, record_property: Record
) -> None:
    seeds = [Random().randrange(10**9) for _ in range(5)]
    steps = [await live(services, steps=1000, seed=seed) for seed in seeds]
    record_property("figures", f"{sum(steps)} commands, each twice at once, with {seeds}")
    assert await find_problems(services) == {}

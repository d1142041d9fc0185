"""A life of a subscription as dated rows: what is done on a day, and every event that must follow, and no other."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

from libs.common.contracts import EVENTS, SERVICES
from libs.common.ids import new_id
from tests.support.all_services import AllServices

Thing = dict[str, Any]

ZONE = "Europe/Amsterdam"
BILLED = ["InvoiceFinalized", "PaymentReceived", "InvoicePaid"]
SETTLED = ["InvoiceFinalized", "InvoicePaid"]  # with no money
BEGAN = ["SubscriptionStarted", *BILLED]
RENEWED = ["SubscriptionRenewed", *BILLED]

ARRIVES_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
NAMES = {type: event.__name__.removesuffix("V1") for type, event in EVENTS.items()}


@dataclass(slots=True)
class Life:
    """One customer on one clock. Subscriptions and what was made are found by the names that the rows give them."""

    services: AllServices
    client: httpx.AsyncClient
    zone: str
    clock_id: str = ""
    customer_id: str = ""
    payment_method_id: str = ""
    named: dict[str, Thing] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    async def post(self, path: str, body: Any, *, expecting: tuple[int, ...] = (200, 201, 202)) -> Thing:
        answer = await self.client.post(path, json=body, headers={"idempotency-key": new_id("key")})
        assert answer.status_code in expecting, f"{path} {body}: {answer.status_code} {answer.text}"
        told: Thing = answer.json()
        return told

    async def get(self, path: str, **query: str) -> Thing:
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        told: Thing = answer.json()
        return told

    async def move_to(self, instant: str) -> None:
        """Forward, until everything that is due on the way has been done."""
        move = await self.post(f"/v1/test-clocks/{self.clock_id}/moves", {"to": instant})
        give_up_at = time.monotonic() + ARRIVES_WITHIN_S
        while move["state"] != "arrived":
            assert time.monotonic() < give_up_at, move
            await asyncio.sleep(LOOK_EVERY_S)
            move = await self.get(f"/v1/test-clocks/{self.clock_id}/moves/{move['id']}")

    async def new_events(self) -> list[str]:
        """What was told of since the last time, by the names of the events; clocks and seals aside."""
        found: list[str] = []
        for service in SERVICES:
            async with self.services.admin(service) as connection:
                rows = await connection.fetch(
                    "SELECT id, type FROM outbox WHERE test_clock = $1 ORDER BY occurred_at, id",
                    self.clock_id,
                )
            found += [NAMES[row["type"]] for row in rows if row["id"] not in self.seen]
            self.seen |= {row["id"] for row in rows}
        return [name for name in found if name not in ("TestClockMoved", "UsageWindowSealed")]

    async def subscription(self, name: str = "it") -> Thing:
        return await self.get(f"/v1/subscriptions/{self.named[name]['id']}")

    async def invoices(self) -> list[Thing]:
        """In the order of their boundaries, and of their totals at one; with their lines. What came to nothing is out."""
        listed = await self.get("/v1/invoices", customer_id=self.customer_id, limit="200")
        issued = [one for one in listed["data"] if one["status"] in ("finalized", "paid")]
        issued.sort(key=lambda one: (one["boundary_at"], Decimal(one["total"]["amount"])))
        return [await self.get(f"/v1/invoices/{one['id']}") for one in issued]


Do = Callable[[Life], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Row:
    """On `at` (an instant), after all that was due by then, `do` is done; `follows` are the events since the last row."""

    at: str
    do: Do | None
    follows: Sequence[str]
    check: Do | None = None


async def live(
    life: Life, starts_at: str, rows: Sequence[Row], *, behaviour: str | None = "succeeds"
) -> None:
    """Go through the rows, with a clock, a customer and, if it has a `behaviour`, a payment method."""
    clock = await life.post("/v1/test-clocks", {"name": "A life", "starts_at": starts_at})
    life.clock_id = clock["id"]
    customer = await life.post("/v1/customers", {"name": "Somebody", "zone": life.zone, "country": "NL"})
    life.customer_id = customer["id"]
    if behaviour is not None:
        await pays(behaviour)(life)
    await life.new_events()
    for number, row in enumerate(rows, 1):
        await life.move_to(row.at)
        if row.do is not None:
            await row.do(life)
            await life.move_to(row.at)  # until all that follows has been done
        told = Counter(await life.new_events())
        assert told == Counter(row.follows), f"row {number}, {row.at}: {dict(told)}, not {list(row.follows)}"
        if row.check is not None:
            await row.check(life)


def pays(behaviour: str) -> Do:
    async def do(life: Life) -> None:
        body = {"customer_id": life.customer_id, "gateway": "sandbox", "behaviour": behaviour}
        life.payment_method_id = (await life.post("/v1/payment-methods", body))["id"]

    return do


def subscribes(plan: str, name: str = "it", **terms: Any) -> Do:
    async def do(life: Life) -> None:
        body = {
            "customer_id": life.customer_id,
            "plan": plan,
            "zone": life.zone,
            "test_clock_id": life.clock_id,
            **{key: _known(value, life) for key, value in terms.items()},
        }
        life.named[name] = await life.post("/v1/subscriptions", body)

    return do


def asks(path: str, body: Mapping[str, Any] | None = None, name: str = "it", **kept: str) -> Do:
    """POST below the subscription; `kept` names parts of the answer for later rows, as `quote="id"`."""

    async def do(life: Life) -> None:
        given = {key: _known(value, life) for key, value in (body or {}).items()}
        answer = await life.post(f"/v1/subscriptions/{life.named[name]['id']}/{path}", given)
        for kept_as, part in kept.items():
            life.named[kept_as] = {"id": answer[part]}

    return do


def _known(value: Any, life: Life) -> Any:
    """`$name` stands for the id of what a row has named."""
    if isinstance(value, str) and value.startswith("$"):
        return life.named[value[1:]]["id"]
    return value


def stands(status: str, name: str = "it", **expected: Any) -> Do:
    async def check(life: Life) -> None:
        subscription = await life.subscription(name)
        assert subscription["status"] == status, subscription
        for key, value in expected.items():
            assert subscription[key] == value, (key, subscription[key])

    return check


def invoiced(*totals: str) -> Do:
    """The totals of all invoices so far."""

    async def check(life: Life) -> None:
        found = [one["total"]["amount"] for one in await life.invoices()]
        assert found == list(totals), found

    return check


def all_of(*checks: Do) -> Do:
    async def check(life: Life) -> None:
        for one in checks:
            await one(life)

    return check

"""Money is taken at most once for an attempt, whatever goes wrong at the gateway, on the way, or in the worker.

Each seed is a life of two invoices: their payments are claimed, called and recorded by workers that are cut off anywhere,
against a gateway that times out after success, answers twice, late, or with 500, and tells of it out of order, twice, or
before it answers. In the end all is calm, and nobody helps: what the gateway has taken is what our attempts say, and what
the ledger has.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from libs.common.ids import new_id
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.billing.adapters.gateway_accounts import GatewayAccounts
from services.billing.adapters.stripe_client import StripeClient
from services.billing.adapters.stripe_events import is_genuine, read_event
from services.billing.adapters.stripe_gateway import StripeGateway
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.keep_gateway_event import KeepGatewayEvent, keep_gateway_event
from services.billing.domain.payment import MethodDetails, Outcome, PaymentMethod
from services.billing.entrypoints.gateway_event_job import GatewayEvents
from services.billing.entrypoints.outside_calls import CallOutside
from services.billing.entrypoints.payment_job import CollectPayments
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.clocks import FixedClock
from tests.support.service_under_test import new_tenant
from tests.support.stripe_stand_in import (
    DECLINES,
    NEEDS_ACTION,
    PROCESSES,
    PROCESSES_THEN_FAILS,
    SECRET_KEY,
    WEBHOOK_SECRET,
    Faults,
    StandIn,
    running_stand_in,
)

SEEDS = 200
SEEDS_LONG = 3_000
INVOICES = 2
ROUNDS = 4
CALM_ROUNDS = 40
CLAIM_S = 30.0
RETRY_DAYS = (1,)
SUCCEEDS = "pm_succeeds00000"
TOKENS = (SUCCEEDS, SUCCEEDS, DECLINES, PROCESSES, PROCESSES_THEN_FAILS, NEEDS_ACTION)
CUSTOMER = "cus_standin"


class Killed(BaseException):
    """The worker is gone, as by SIGKILL: nothing of its own runs any more."""


@dataclass
class Fate:
    """Where a worker dies: before the gateway is called, after it answered, or in the transaction that records it."""

    random: random.Random
    share: float

    def strike(self) -> None:
        if self.random.random() < self.share:
            raise Killed


class MortalGateway(StripeGateway):
    """Whoever calls it may die just before the call, or with the answer in his hand."""

    def __init__(self, accounts: GatewayAccounts, client: StripeClient, fate: Fate) -> None:
        super().__init__(accounts, client)
        self._fate = fate

    async def collect(self, **asked: Any) -> Outcome:
        self._fate.strike()
        outcome = await super().collect(**asked)
        self._fate.strike()
        return outcome

    async def find_outcome(self, **asked: Any) -> Outcome | None:
        outcome = await super().find_outcome(**asked)
        self._fate.strike()
        return outcome


class MortalUnits(UnitsOfWork[BillingUnitOfWork]):
    """Transactions that may be aborted when all but the commit is done."""

    def __init__(self, units: UnitsOfWork[BillingUnitOfWork], fate: Fate) -> None:
        super().__init__(units.database, BillingUnitOfWork)
        self._fate = fate

    @asynccontextmanager
    async def open_for_many(self) -> AsyncIterator[BillingUnitOfWork]:
        async with super().open_for_many() as uow:
            yield uow
            await uow.flush()
            self._fate.strike()


class World:
    """One tenant whose customers pay through the stand-in, and workers that collect from them."""

    def __init__(
        self,
        bench: Workbench,
        stand_in: StandIn,
        client: StripeClient,
        admin: asyncpg.Connection[Any],
        folder: Path,
    ) -> None:
        self.bench, self.stand_in, self.client, self.admin = bench, stand_in, client, admin
        self.tenant = tenant = new_tenant()
        accounts = folder / "accounts.json"
        known = {"tenant": tenant, "secret_key": SECRET_KEY, "webhook_secrets": [WEBHOOK_SECRET]}
        accounts.write_text(json.dumps({"stripe": [known]}))
        self.accounts = GatewayAccounts(accounts)
        for token in TOKENS:
            stand_in.add_method(token, customer=CUSTOMER)

    async def bill(self, tokens: Sequence[str]) -> tuple[list[str], datetime]:
        """One finalized invoice for each, of a customer with a method of that token, which nobody looks at yet."""
        await self.bench.add_seller(self.tenant)
        stories = [Story(self.tenant, metered=False) for _ in tokens]
        for first in range(0, len(stories), 200):
            await self.bench.hear(*[story.started() for story in stories[first : first + 200]])
        async with self.bench.open(self.tenant) as uow:
            for story, token in zip(stories, tokens, strict=True):
                uow.payment_methods.add(_method(story.customer.customer_id, token))
        await self.admin.execute("UPDATE payment_attempt SET retry_at = 'infinity'")
        found = await self.admin.fetch("SELECT id, customer_id FROM invoice")
        by_customer = {row["customer_id"]: row["id"] for row in found}
        ids = [by_customer[story.customer.customer_id] for story in stories]
        return ids, stories[0].boundary(0)

    async def wake(self, invoice_ids: Sequence[str]) -> None:
        await self.admin.execute(
            "UPDATE payment_attempt SET retry_at = NULL WHERE invoice_id = ANY($1)", list(invoice_ids)
        )

    async def work(self, clock: FixedClock, fate: Fate) -> None:
        """One turn of a worker of its own, which may not survive it."""
        gateway = MortalGateway(self.accounts, self.client, fate)
        units = MortalUnits(self.bench.units, fate)
        collect = CallOutside(
            CollectPayments(gateways={"stripe": gateway}, retry_days=RETRY_DAYS, clock=clock),
            units=units,
            clock=clock,
            claim_s=CLAIM_S,
            calls_at_once=4,
        )
        events = CallOutside(
            GatewayEvents(gateways={"stripe": gateway}, clock=clock),
            units=units,
            clock=clock,
            claim_s=CLAIM_S,
            calls_at_once=4,
        )
        try:
            await events.run_once()
            await collect.run_once()
        except Killed:
            pass

    async def hear(self, body: bytes, header: str, clock: FixedClock) -> None:
        """What the route does with what Stripe sends."""
        assert is_genuine(body, header, [WEBHOOK_SECRET], now=clock.now)
        event = read_event(body)
        if event is None:
            return
        command = KeepGatewayEvent(
            "stripe", "main", event.id, event.type, event.subject_kind, event.subject_id, event.our_id,
            event.happened_at, None,
        )  # fmt: skip
        async with self.bench.open(self.tenant) as uow:
            await keep_gateway_event(command, now=clock.now, uow=uow)


def _method(customer_id: str, token: str) -> PaymentMethod:
    return PaymentMethod(
        id=new_id("pm"),
        customer_id=customer_id,
        gateway="stripe",
        is_default=True,
        version=1,
        created_at=datetime.fromisoformat("2025-01-01T00:00:00Z"),
        account="main",
        token=token,
        gateway_customer=CUSTOMER,
        details=MethodDetails("card", "visa", "4242", 12, 2031),
    )


async def live(world: World, seed: int, invoice_ids: Sequence[str], start: datetime) -> None:
    """The life of some invoices, by seed."""
    chance = random.Random(seed)
    stand_in, clock = world.stand_in, FixedClock(start + timedelta(minutes=5))
    stand_in.now = lambda: clock.now.timestamp()
    stand_in.faults = Faults(
        chance, share=0.35, webhook_first=0.2, webhook_repeated=0.3, webhook_lost=0.3, settles=0.5
    )

    async def send(body: bytes, header: str) -> None:
        await world.hear(body, header, clock)

    stand_in.send = send
    stand_in.waiting.clear()
    await world.wake(invoice_ids)
    fate = Fate(chance, share=0.15)
    for _ in range(ROUNDS):
        await asyncio.gather(*[world.work(clock, fate) for _ in range(chance.choice((1, 1, 2)))])
        if chance.random() < 0.5:
            await stand_in.deliver()
        if chance.random() < 0.3:
            stand_in.settle_all()
        clock.advance(timedelta(seconds=chance.choice((5, 31, 31, 90, 600))))
    await calm(world, clock, invoice_ids)
    await check(world, seed, invoice_ids)


async def calm(world: World, clock: FixedClock, invoice_ids: Sequence[str]) -> None:
    """Nothing goes wrong any more, days go by, and nobody helps."""
    world.stand_in.faults.share = world.stand_in.faults.webhook_first = 0.0
    world.stand_in.settle_all()
    safe = Fate(random.Random(0), share=0.0)
    for turn in range(CALM_ROUNDS):
        if turn == 2:
            world.stand_in.forget_keys()
        await world.work(clock, safe)
        if not await world.admin.fetch(
            "SELECT 1 FROM payment_attempt WHERE invoice_id = ANY($1) AND due_at IS NOT NULL LIMIT 1",
            list(invoice_ids),
        ):
            return
        world.stand_in.settle_all()
        clock.advance(timedelta(hours=26 if turn < 3 else 80))


async def check(world: World, seed: int, invoice_ids: Sequence[str]) -> None:
    found = await world.admin.fetch(
        "SELECT * FROM payment_attempt WHERE invoice_id = ANY($1) ORDER BY invoice_id, number",
        list(invoice_ids),
    )
    told = f"PERENNIAL_FAULT_SEED={seed}"
    for attempt in found:
        taken = world.stand_in.charges_of(attempt["id"])
        assert attempt["state"] in ("succeeded", "failed"), (told, dict(attempt))
        assert taken == (1 if attempt["state"] == "succeeded" else 0), (told, taken, dict(attempt))
    for intent in world.stand_in.intents.values():
        assert not world.stand_in.pay_from_the_dashboard(intent["id"]), (told, intent)
    world.stand_in.intents.clear()
    cash = await world.admin.fetch(
        """SELECT invoice_id AS id, sum(amount_minor)::bigint AS minor FROM ledger_entry
           WHERE invoice_id = ANY($1) AND account = 'cash' GROUP BY 1""",
        list(invoice_ids),
    )
    expected = {
        id: sum(world.stand_in.taken(a["id"]) for a in found if a["invoice_id"] == id) for id in invoice_ids
    }
    booked = {row["id"]: row["minor"] for row in cash}
    assert {id: booked.get(id, 0) for id in invoice_ids} == expected, told
    paid = await world.admin.fetch("SELECT id, status FROM invoice WHERE id = ANY($1)", list(invoice_ids))
    assert {row["id"]: row["status"] == "paid" for row in paid} == {
        id: minor > 0 for id, minor in expected.items()
    }, told


async def run_seeds(bench: Workbench, folder: Path, seeds: Sequence[int]) -> Mapping[str, int]:
    """Each seed by itself, one after another, on one database."""
    async with running_stand_in(StandIn()) as stand_in, bench.admin() as admin:
        client = StripeClient(stand_in.url, timeout_s=0.03)
        world = World(bench, stand_in, client, admin, folder)
        tokens = [random.Random(seed * 7 + n).choice(TOKENS) for seed in seeds for n in range(INVOICES)]
        ids, start = await world.bill(tokens)
        for position, seed in enumerate(seeds):
            await live(world, seed, ids[position * INVOICES : (position + 1) * INVOICES], start)
        await client.close()
        return {"charges": len(stand_in.charges), "requests": len(stand_in.requests)}


async def play(bench: Workbench, folder: Path, seeds: Sequence[int]) -> None:
    async with bench.admin() as admin:  # tokens are shared here, and unique in life
        await admin.execute("DROP INDEX uq_payment_method_token")
    told = await run_seeds(bench, folder, seeds)
    assert told["charges"] > len(seeds) / 2, "most of them can be paid"
    wrong = [check.name for check in (await bench.audit()).checks if not check.ok]
    assert wrong in ([], ["outbox_stale"]), "nobody publishes here"


async def test_money_is_taken_at_most_once(own_bench: Workbench, tmp_path: Path) -> None:
    given = os.environ.get("PERENNIAL_FAULT_SEED")
    await play(own_bench, tmp_path, [int(given)] * 2 if given else range(SEEDS))


@pytest.mark.long
async def test_money_is_taken_at_most_once_by_many_more_seeds(own_bench: Workbench, tmp_path: Path) -> None:
    await play(own_bench, tmp_path, range(SEEDS, SEEDS + SEEDS_LONG))

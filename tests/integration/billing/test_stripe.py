"""Customers who pay through Stripe, against a stand-in of it: methods by token, payments, webhooks over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.billing.adapters.gateway_accounts import GatewayAccounts
from services.billing.adapters.stripe_client import StripeClient
from services.billing.adapters.stripe_gateway import StripeGateway
from services.billing.bootstrap import build
from services.billing.entrypoints.gateway_event_job import GatewayEvents
from services.billing.entrypoints.outside_calls import CallOutside
from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import Story
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ORIGIN, ServiceUnderTest, new_tenant, service_under_test
from tests.support.stripe_stand_in import (
    PROCESSES,
    SECRET_KEY,
    WEBHOOK_SECRET,
    StandIn,
    running_stand_in,
    signature,
)

BOTH = ("billing:read", "billing:write")
CARD = "4242 4242 4242 4242"


class Shop:
    """A tenant that is paid through the stand-in."""

    def __init__(self, service: ServiceUnderTest, stand_in: StandIn, tenant: str, accounts: Path) -> None:
        self.service, self.stand_in, self.tenant = service, stand_in, tenant
        self.bench = Workbench(service)
        stand_in.now = lambda: service.parts.platform.clock.system_now().timestamp()
        self.client = StripeClient(stand_in.url, timeout_s=5)
        self.gateways = {"stripe": StripeGateway(GatewayAccounts(accounts), self.client)}

    def api(self, *scopes: str, **claims: Any) -> httpx.AsyncClient:
        return self.service.client(self.tenant, *(scopes or BOTH), **claims)

    async def add(self, story: Story, token: str, **more: Any) -> httpx.Response:
        body = {"customer_id": story.customer.customer_id, "gateway": "stripe", "token": token, **more}
        async with self.api() as client:
            return await client.post(
                "/v1/payment-methods", json=body, headers={"idempotency-key": token + str(len(more))}
            )

    async def receive(self, body: bytes, header: str, *, account: str = "main") -> httpx.Response:
        """As Stripe sends it: without a token."""
        transport = httpx.ASGITransport(app=self.service.service.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            return await client.post(
                f"/v1/gateway-events/stripe/{self.tenant}/{account}",
                content=body,
                headers={"stripe-signature": header, "content-type": "application/json; charset=utf-8"},
            )

    async def hear(self, body: bytes, header: str) -> None:
        assert (await self.receive(body, header)).status_code == 200

    async def work_off(self) -> int:
        """One turn of the job that works off what came."""
        clock = self.service.parts.platform.clock
        work = GatewayEvents(gateways=self.gateways, clock=clock)
        job = CallOutside(work, units=self.bench.units, clock=clock, claim_s=30, calls_at_once=4)
        return await job.run_once()

    async def collect(self, clock: Any) -> None:
        await self.bench.collect(clock=clock, gateways=self.gateways)


@dataclass
class Street:
    """One service for all shops, with the file of their accounts."""

    service: ServiceUnderTest
    stand_in: StandIn
    accounts: Path
    known: list[dict[str, object]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def street(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Street]:
    folder = tmp_path_factory.mktemp("stripe")
    accounts = folder / "accounts.json"
    accounts.write_text("{}")
    async with running_stand_in(StandIn()) as stand_in:
        environment = {
            "PERENNIAL_BILLING_STRIPE_URL": stand_in.url,
            "PERENNIAL_BILLING_GATEWAY_ACCOUNTS_FILE": str(accounts),
        }
        async with service_under_test(
            postgres, "billing", build, folder=folder, environment=environment
        ) as service:
            yield Street(service, stand_in, accounts, [])


@pytest_asyncio.fixture
async def shop(street: Street) -> AsyncIterator[Shop]:
    """A tenant of its own, and a Stripe of which nobody has asked anything yet."""
    tenant = new_tenant()
    street.known.append({"tenant": tenant, "secret_key": SECRET_KEY, "webhook_secrets": [WEBHOOK_SECRET]})
    street.accounts.write_text(json.dumps({"stripe": street.known}))
    street.stand_in.reset()
    shop = Shop(street.service, street.stand_in, tenant, street.accounts)
    await shop.bench.know_tenant(tenant)
    yield shop
    await shop.client.close()


async def a_customer(shop: Shop) -> Story:
    story = Story(shop.tenant, metered=False)
    await shop.bench.know_customer(story)
    return story


async def test_a_customer_pays_by_a_token(shop: Shop) -> None:
    """From the token to the ledger; nothing of the card but what tells it from another, no secret anywhere."""
    bench, stand_in = shop.bench, shop.stand_in
    await bench.add_seller(shop.tenant)
    story = await a_customer(shop)
    stand_in.add_method("pm_one0000000000")
    answer = await shop.add(story, "pm_one0000000000")
    method = answer.json()
    assert (answer.status_code, method["gateway"], method["account"]) == (201, "stripe", "main")
    assert method["details"] == {
        "kind": "card", "brand": "visa", "last4": "4242", "expiry_month": 12, "expiry_year": 2031,
    }  # fmt: skip
    assert "token" not in method
    assert SECRET_KEY not in answer.text
    assert len(stand_in.customers) == 1
    await bench.hear(story.started())
    clock = after(story.boundary(0), minutes=5)
    await shop.collect(clock)
    (attempt,) = await bench.attempts(shop.tenant)
    (invoice,) = await bench.invoices(shop.tenant)
    assert (attempt["state"], invoice["status"]) == ("succeeded", "paid")
    assert stand_in.charges == [(attempt["id"], 240000, attempt["gateway_reference"])]
    # A second card of the same customer goes to the same customer there, and takes the first one's place.
    stand_in.add_method("pm_two0000000000")
    second = (await shop.add(story, "pm_two0000000000", replaces=method["id"])).json()
    assert len(stand_in.customers) == 1
    assert stand_in.methods["pm_one0000000000"]["customer"] is None
    async with shop.api() as client:
        listed = (await client.get("/v1/payment-methods")).json()["data"]
        assert [one["id"] for one in listed] == [second["id"]]
        late = await client.get("/v1/payment-methods", params={"expiring_by": "2031-12-01"})
        early = await client.get("/v1/payment-methods", params={"expiring_by": "2031-11-30"})
        assert [len(found.json()["data"]) for found in (late, early)] == [1, 0]


async def test_a_default_is_chosen(shop: Shop) -> None:
    story = await a_customer(shop)
    made = []
    for token in ("pm_one0000000000", "pm_two0000000000"):
        shop.stand_in.add_method(token)
        made.append((await shop.add(story, token)).json()["id"])
    async with shop.api() as client:
        path = f"/v1/payment-methods/{made[0]}"
        etag = (await client.get(path)).headers["etag"]
        unnamed = await client.patch(path, json={"is_default": True})
        refused = await client.patch(path, json={"is_default": False}, headers={"if-match": etag})
        chosen = await client.patch(path, json={"is_default": True}, headers={"if-match": etag})
        listed = (await client.get("/v1/payment-methods")).json()["data"]
    assert (unnamed.status_code, refused.status_code, chosen.status_code) == (428, 422, 200)
    assert {one["id"]: one["is_default"] for one in listed} == {made[0]: True, made[1]: False}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"token": "pm_nobody0000000"}, 422, "payment_token_unusable"),
        ({"token": "pm_one0000000000", "account": "other"}, 422, "gateway_account_unknown"),
        ({"token": "tok_visa"}, 422, "invalid_body"),
        ({"token": "pm_one0000000000", "behaviour": "succeeds"}, 422, "invalid_body"),
        ({}, 422, "invalid_body"),
        ({"token": CARD}, 422, "card_number_refused"),
        (
            {"token": "pm_one0000000000", "card": {"number": CARD.replace(" ", "")}},
            422,
            "card_number_refused",
        ),
        ({"token": "pm_one0000000000", "number": 4242424242424242}, 422, "card_number_refused"),
    ],
)
async def test_what_cannot_be_used_is_refused(
    shop: Shop, body: dict[str, Any], status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What looks like a card number is not answered, logged or stored."""
    story = await a_customer(shop)
    shop.stand_in.add_method("pm_one0000000000")
    given = {"customer_id": story.customer.customer_id, "gateway": "stripe", **body}
    async with shop.api() as client:
        answer = await client.post("/v1/payment-methods", json=given, headers={"idempotency-key": "1"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "4242" not in answer.text
    assert "4242" not in caplog.text
    kept = await shop.bench.rows("SELECT count(*) AS n FROM idempotency_key WHERE tenant = $1", shop.tenant)
    assert kept[0]["n"] == 0


async def test_webhooks_are_verified_and_kept_once(shop: Shop) -> None:
    """Forged and stale ones are refused, the same one again changes nothing, and others' things are passed over."""
    story = await a_customer(shop)
    token = "pm_one0000000000"
    shop.stand_in.add_method(token)
    await shop.add(story, token)
    shop.stand_in.renew_card(token, year=2035)
    body = shop.stand_in.waiting.pop()
    now = int(shop.stand_in.now())
    good = signature(body, at=now)
    refused = [
        await shop.receive(body, signature(body, at=now, secret="whsec_somebodyelse")),
        await shop.receive(body.replace(b"2035", b"2036"), good),
        await shop.receive(body, signature(body, at=now - 301)),
        await shop.receive(body, ""),
        await shop.receive(body, good, account="other"),
        await shop.receive(b"[]", "t=1,v1="),
    ]
    assert {(one.status_code, one.json()["code"]) for one in refused} == {(400, "gateway_event_not_verified")}
    answers = [await shop.receive(body, header) for header in (good, good, signature(body, at=now - 200))]
    assert [(one.status_code, one.json()["kept"]) for one in answers] == [
        (200, True), (200, False), (200, False),
    ]  # fmt: skip
    other, header = shop.stand_in.event(
        "payment_intent.succeeded", {"id": "pi_x", "object": "payment_intent"}
    )
    assert (await shop.receive(other, header)).json() == {"kept": False}
    malformed = await shop.receive(b"[]", signature(b"[]", at=now))
    assert (malformed.status_code, malformed.json()["code"]) == (400, "gateway_event_malformed")
    assert await shop.work_off() == 1
    assert await shop.work_off() == 0
    async with shop.api() as client:
        (method,) = (await client.get("/v1/payment-methods")).json()["data"]
        (event,) = (await client.get("/v1/gateway-events", params={"is_done": True})).json()["data"]
    assert method["details"]["expiry_year"] == 2035
    assert (event["type"], event["attempts"]) == ("payment_method.automatically_updated", 1)


async def test_a_method_that_is_gone_there_is_gone_here(shop: Shop) -> None:
    story = await a_customer(shop)
    for token in ("pm_one0000000000", "pm_two0000000000"):
        shop.stand_in.add_method(token)
        await shop.add(story, token)
    shop.stand_in.detach("pm_two0000000000")
    body = shop.stand_in.waiting.pop()
    for _ in range(2):
        await shop.hear(body, signature(body, at=int(shop.stand_in.now())))
        await shop.work_off()
    async with shop.api() as client:
        (left,) = (await client.get("/v1/payment-methods")).json()["data"]
    assert left["is_default"]


async def test_what_is_removed_here_is_let_go_there(shop: Shop) -> None:
    """However often it is asked for, and whoever removed it first."""
    story, stand_in = await a_customer(shop), shop.stand_in
    for token in ("pm_one0000000000", "pm_two0000000000"):
        stand_in.add_method(token)
        await shop.add(story, token)
    async with shop.api() as client:
        one, two = (await client.get("/v1/payment-methods")).json()["data"]
        unnamed = await client.delete(f"/v1/payment-methods/{one['id']}")
        stale = await client.delete(f"/v1/payment-methods/{one['id']}", headers={"if-match": '"9"'})
        assert stand_in.methods["pm_one0000000000"]["customer"] is not None
        removed = await client.delete(f"/v1/payment-methods/{one['id']}", headers={"if-match": "*"})
        stand_in.detach("pm_two0000000000")
        gone_there = await client.delete(f"/v1/payment-methods/{two['id']}", headers={"if-match": "*"})
        again = await client.delete(f"/v1/payment-methods/{two['id']}", headers={"if-match": "*"})
    answers = (unnamed, stale, removed, gone_there, again)
    assert [answer.status_code for answer in answers] == [428, 412, 204, 204, 404]
    assert stand_in.methods["pm_one0000000000"]["customer"] is None


async def test_who_accepts_a_dispute_tells_the_gateway(shop: Shop) -> None:
    bench, stand_in = shop.bench, shop.stand_in
    await bench.add_seller(shop.tenant)
    story = await a_customer(shop)
    stand_in.add_method("pm_one0000000000")
    await shop.add(story, "pm_one0000000000")
    await bench.hear(story.started())
    await shop.collect(after(story.boundary(0), minutes=5))
    (intent,) = stand_in.intents.values()
    opened = stand_in.open_dispute(intent["id"])

    async def hear() -> None:
        body = stand_in.waiting.pop()
        await shop.hear(body, signature(body, at=int(stand_in.now())))
        await shop.work_off()

    await hear()
    async with shop.api() as client:
        (dispute,) = (await client.get("/v1/disputes")).json()["data"]
        path, once = f"/v1/disputes/{dispute['id']}/accept", {"idempotency-key": "accept"}
        accepted = await client.post(path, headers=once)
        again = await client.post(path, headers=once)
        assert (dispute["state"], accepted.json()["state"], again.content) == (
            "open",
            "accepted",
            accepted.content,
        )
        assert stand_in.disputes[opened["id"]]["status"] == "lost"
        await hear()
        assert (await client.get(f"/v1/disputes/{dispute['id']}")).json()["state"] == "lost"
    assert stand_in.requests.count(("POST", f"/v1/disputes/{opened['id']}/close")) == 1


async def test_a_bank_takes_its_time(shop: Shop) -> None:
    """The outcome comes by a webhook, long before anybody would have asked; and an early one is no harm."""
    bench, stand_in = shop.bench, shop.stand_in
    await bench.add_seller(shop.tenant)
    story = await a_customer(shop)
    stand_in.add_method(PROCESSES)
    await shop.add(story, PROCESSES)
    await bench.hear(story.started())
    clock = after(story.boundary(0), minutes=5)
    await shop.collect(clock)
    (attempt,) = await bench.attempts(shop.tenant)
    assert (attempt["state"], attempt["needs_action"]) == ("processing", False)
    assert attempt["due_at"] == clock.now + timedelta(minutes=1)
    clock.advance(timedelta(days=2))
    await shop.collect(clock)
    (attempt,) = await bench.attempts(shop.tenant)
    assert (attempt["state"], attempt["due_at"]) == ("processing", clock.now + timedelta(days=1))
    assert (await bench.invoices(shop.tenant))[0]["status"] == "finalized"
    (intent,) = stand_in.intents.values()
    stand_in.waiting.clear()
    stand_in.settle(intent["id"])
    body = stand_in.waiting.pop()
    await shop.hear(body, signature(body, at=int(stand_in.now())))
    await shop.work_off()
    (attempt,) = await bench.attempts(shop.tenant)
    assert attempt["due_at"] <= shop.service.parts.platform.clock.system_now()
    await bench.rows("UPDATE payment_attempt SET due_at = $1 RETURNING id", clock.now)
    await shop.collect(clock)
    (attempt,) = await bench.attempts(shop.tenant)
    assert attempt["state"] == "succeeded"
    assert stand_in.charges_of(attempt["id"]) == 1


async def test_the_file_of_accounts_is_read_again(shop: Shop, street: Street) -> None:
    """A secret is exchanged without a restart, and a spoilt file changes nothing."""
    story = await a_customer(shop)
    shop.stand_in.add_method("pm_one0000000000")
    await shop.add(story, "pm_one0000000000")
    shop.stand_in.renew_card("pm_one0000000000", year=2034)
    body = shop.stand_in.waiting.pop()
    now = int(shop.stand_in.now())
    new = signature(body, at=now, secret="whsec_another_one_0123456789")
    before = street.accounts.read_text()
    street.accounts.write_text("{")
    assert (await shop.receive(body, new)).status_code == 400
    street.accounts.write_text(before.replace(WEBHOOK_SECRET, "whsec_another_one_0123456789"))
    assert (await shop.receive(body, new)).status_code == 200

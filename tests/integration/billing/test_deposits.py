"""Deposits and compensation notes over HTTP: to the cent, with what they post."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx

from libs.common.ids import new_id
from tests.integration.billing.crediting import (
    BOTH,
    Thing,
    a_customer,
    an_invoice,
    balances,
    eur,
    get,
    listed,
    post,
    told,
)
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.clocks import FixedClock
from tests.support.service_under_test import ServiceUnderTest


async def a_deposit(client: httpx.AsyncClient, story: Story, amount: str, **more: object) -> Thing:
    body = {"customer_id": story.customer.customer_id, "amount": eur(amount), **more}
    return await post(client, "/v1/deposits", body)


async def compensation(client: httpx.AsyncClient, story: Story, amount: str, **more: object) -> Thing:
    body = {
        "customer_id": story.customer.customer_id,
        "amount": eur(amount),
        "description": "One chair beyond wear",
        **more,
    }
    return await post(client, "/v1/compensation-notes", body)


async def test_desks_come_back_and_the_deposit_less_the_damage_is_given_back(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """A deposit of 500.00, a chair beyond wear for 60.00: 440.00 are given back."""
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        asked = await a_deposit(client, story, "500.00", description="Deposit for ten desks")
        assert await balances(bench, tenant) == {}, "what is only asked for is no liability"
        request = await get(client, f"/v1/invoices/{asked['invoice_id']}")
        await bench.add_method(story)
        await bench.collect()
        collected = await get(client, f"/v1/deposits/{asked['id']}")
        assert await balances(bench, tenant) == {"cash": 50000, "deposit_liability": -50000}
        note = await compensation(client, story, "60.00", asset="chair-0042")
        kept = await post(client, f"/v1/deposits/{asked['id']}/set-offs", {"invoice_id": note["id"]})
        settled = await get(client, f"/v1/invoices/{note['id']}")
        released = await post(client, f"/v1/deposits/{asked['id']}/releases", {"reason": "Desks are back"})
        (refund,) = await listed(client, "/v1/refunds", deposit_id=asked["id"])
        (of_customer,) = await listed(client, "/v1/deposits", customer_id=story.customer.customer_id)
        nothing_left = await post(
            client, f"/v1/deposits/{asked['id']}/releases", {"reason": "Again"}, expecting=409
        )
    assert (asked["state"], collected["state"], collected["remaining"]) == (
        "requested",
        "collected",
        eur("500.00"),
    )
    assert (request["document_kind"], request["number"], request["tax"]) == (
        "deposit",
        "DEP-000001",
        eur("0.00"),
    )
    assert [line["tax"]["category"] for line in (*request["lines"], *note["lines"])] == ["O", "O"]
    assert (note["document_kind"], note["number"], note["total"]) == (
        "compensation",
        "CMP-000001",
        eur("60.00"),
    )
    assert note["lines"][0]["description"] == "One chair beyond wear (chair-0042)"
    assert (kept["applied"], kept["remaining"]) == (eur("60.00"), eur("440.00"))
    assert (settled["status"], settled["due"]) == ("paid", eur("0.00"))
    assert (released["state"], released["released"], released["remaining"]) == (
        "released",
        eur("440.00"),
        eur("0.00"),
    )
    assert (refund["amount"], refund["state"]) == (eur("440.00"), "pending")
    assert of_customer == released
    assert nothing_left["code"] == "deposit_state_wrong"
    assert await balances(bench, tenant) == {
        "cash": 50000,
        "compensation_income": -6000,
        "refunds_payable": -44000,
    }
    assert [name for name in await told(bench, tenant) if name.startswith(("deposit", "refund"))] == [
        "deposit.changed.v1",
        "deposit.changed.v1",
        "deposit.changed.v1",
        "deposit.changed.v1",
        "refund.requested.v1",
    ]
    states = await bench.attempts(tenant)
    assert [(row["state"], row["amount_minor"]) for row in states] == [
        ("succeeded", 50000),
        ("canceled", 6000),
    ]


async def test_damage_beyond_the_waiver_is_asked_for_without_tax(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """1,240.00 of damage less 1,000.00 that is waived: 240.00, and no VAT."""
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        note = await compensation(client, story, "240.00", description="Damage 1,240.00 less waiver 1,000.00")
        assert await balances(bench, tenant) == {"accounts_receivable": 24000, "compensation_income": -24000}
        await bench.add_method(story)
        await bench.collect()
        paid = await get(client, f"/v1/invoices/{note['id']}")
    assert (note["net"], note["tax"], note["total"]) == (eur("240.00"), eur("0.00"), eur("240.00"))
    assert (note["taxes"][0]["category"], paid["status"]) == ("O", "paid")
    assert await balances(bench, tenant) == {"cash": 24000, "compensation_income": -24000}


async def test_a_deposit_secures_compensation_unless_it_says_more(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        strict = await a_deposit(client, story, "100.00")
        loose = await a_deposit(client, story, "100.00", set_off="any")
        await bench.collect()
        invoice = await an_invoice(client, story, ("1", "100.00"))
        wanted = {"invoice_id": invoice["id"]}
        refused = await post(client, f"/v1/deposits/{strict['id']}/set-offs", wanted, expecting=422)
        too_much = {**wanted, "amount": eur("100.01")}
        beyond = await post(client, f"/v1/deposits/{loose['id']}/set-offs", too_much, expecting=422)
        kept = await post(client, f"/v1/deposits/{loose['id']}/set-offs", wanted)
        partly = await get(client, f"/v1/invoices/{invoice['id']}")
        await bench.collect()
        paid = await get(client, f"/v1/invoices/{invoice['id']}")
    assert (refused["code"], beyond["code"]) == ("set_off_not_allowed", "deposit_too_small")
    assert (kept["state"], partly["status"], partly["due"]) == ("released", "finalized", eur("21.00"))
    assert (paid["status"], paid["paid"]) == ("paid", eur("121.00"))
    assert (await balances(bench, tenant))["cash"] == 22100


async def test_what_is_held_expires_or_is_captured(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    until = datetime.now(UTC) + timedelta(days=7)
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        over_already = {
            "customer_id": story.customer.customer_id,
            "amount": eur("300.00"),
            "kind": "held",
            "expires_at": "2020-01-01T00:00:00Z",
        }
        past = await post(client, "/v1/deposits", over_already, expecting=422)
        held = {"kind": "held", "expires_at": until.isoformat()}
        forgotten, captured, given_up = [await a_deposit(client, story, "300.00", **held) for _ in range(3)]
        too_much = {"amount": eur("300.01")}
        beyond = await post(client, f"/v1/deposits/{captured['id']}/captures", too_much, expecting=422)
        other = {"amount": {"amount": "1.00", "currency": "USD"}}
        currency = await post(client, f"/v1/deposits/{captured['id']}/captures", other, expecting=422)
        taken = await post(client, f"/v1/deposits/{captured['id']}/captures", {"amount": eur("120.00")})
        ended = await post(client, f"/v1/deposits/{given_up['id']}/releases", {"reason": "Returned"})
        await bench.run_job("expire_deposits", clock=FixedClock(until))
        over = await get(client, f"/v1/deposits/{forgotten['id']}")
        late = await post(client, f"/v1/deposits/{forgotten['id']}/captures", {}, expecting=409)
    assert (forgotten["state"], forgotten["invoice_id"], forgotten["remaining"]) == (
        "held",
        None,
        eur("0.00"),
    )
    assert (beyond["code"], currency["code"]) == ("deposit_too_small", "currency_mismatch")
    assert past["code"] == "deposit_expires_too_early"
    assert (taken["state"], taken["collected"], taken["remaining"]) == (
        "collected",
        eur("120.00"),
        eur("120.00"),
    )
    assert (ended["state"], over["state"], late["code"]) == ("canceled", "canceled", "deposit_state_wrong")
    assert await balances(bench, tenant) == {"cash": 12000, "deposit_liability": -12000}


async def test_a_request_that_is_voided_cancels_its_deposit(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        asked = await a_deposit(client, story, "500.00")
        early = await post(client, f"/v1/deposits/{asked['id']}/releases", {"reason": "x"}, expecting=409)
        credited = {"invoice_id": asked["invoice_id"], "reason": "x"}
        no_note = await post(client, "/v1/credit-notes", credited, expecting=409)
        await post(client, f"/v1/invoices/{asked['invoice_id']}/voids", {"reason": "Not needed"})
        canceled = await get(client, f"/v1/deposits/{asked['id']}")
        again = await post(client, f"/v1/invoices/{asked['invoice_id']}/reissues", {}, expecting=409)
    assert (early["code"], no_note["code"]) == ("deposit_state_wrong", "invoice_not_creditable")
    assert (canceled["state"], again["code"]) == ("canceled", "invoice_not_reissuable")


async def test_a_deposit_that_the_balance_pays_is_collected_at_once(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        given = {"customer_id": story.customer.customer_id, "amount": eur("500.00"), "reason": "Goodwill"}
        await post(client, "/v1/customer-balances/adjustments", given)
        made = await a_deposit(client, story, "500.00")
        body = {"reason": "Too late"}
        refused = await post(client, f"/v1/invoices/{made['invoice_id']}/voids", body, expecting=409)
    assert (made["state"], made["remaining"]) == ("collected", eur("500.00"))
    assert refused["code"] == "invoice_not_voidable"
    assert await balances(bench, tenant) == {"deposit_liability": -50000, "goodwill": 50000}


async def test_a_deposit_is_given_back_once_whoever_asks(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        asked = await a_deposit(client, story, "500.00")
        await bench.collect()
        wanted = {"reason": "Desks are back", "amount": eur("200.00")}
        answers = await asyncio.gather(
            *[
                client.post(
                    f"/v1/deposits/{asked['id']}/releases",
                    json=wanted,
                    headers={"idempotency-key": new_id("key")},
                )
                for _ in range(6)
            ]
        )
        refunds = await listed(client, "/v1/refunds")
    assert sorted(answer.status_code for answer in answers) == [201, 201, 422, 422, 422, 422]
    assert [refund["amount"] for refund in refunds] == [eur("200.00")] * 2


async def test_portal_tokens_see_only_their_customers(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        await bench.collect()
        everything = {"invoice_id": invoice["id"], "reason": "Withdrawn", "rest_to": "refund"}
        note = await post(client, "/v1/credit-notes", everything)
        deposit = await a_deposit(client, story, "500.00")
        (refund,) = await listed(client, "/v1/refunds")
    paths = [
        ("/v1/credit-notes", note["id"]),
        ("/v1/refunds", refund["id"]),
        ("/v1/deposits", deposit["id"]),
    ]
    customer = story.customer.customer_id
    async with billing.client(tenant, "billing:read", customer=customer) as portal:
        mine = [await get(portal, f"{path}/{id}") for path, id in paths]
        assert [len(await listed(portal, path)) for path, _ in paths] == [1, 1, 1]
    assert [shown["id"] for shown in mine] == [id for _, id in paths]
    async with billing.client(tenant, "billing:read", customer=new_id("cus")) as portal:
        answers = [await portal.get(f"{path}/{id}") for path, id in paths]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert [len(await listed(portal, path)) for path, _ in paths] == [0, 0, 0]
        assert [len(await listed(portal, path, customer_id=customer)) for path, _ in paths] == [0, 0, 0]

"""Disputes and other payments that are taken back: what they paid is due again, and paid again when they are won."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise

import pytest

from libs.common.money import Money
from services.billing.application.reverse_payment import ReversePayment, reverse_payment
from services.billing.application.take_in_dispute import PaymentNotKnownYet, take_in_dispute
from services.billing.domain.gateway_dispute import DisputeState, GatewayDispute
from services.billing.domain.payment_received import PaymentNotReversible
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
from tests.integration.billing.test_refunds import a_paid_invoice, transfer
from tests.integration.billing.workbench import LONG_AFTER, Workbench
from tests.support.clocks import FixedClock
from tests.support.service_under_test import ServiceUnderTest


async def payment_of(bench: Workbench, invoice: Thing) -> tuple[str, str]:
    """Its id, and the attempt's."""
    (row,) = await bench.rows(
        """SELECT p.id, p.attempt_id FROM payment_allocation a JOIN payment p ON p.id = a.payment_id
           WHERE a.invoice_id = $1""",
        invoice["id"],
    )
    return row["id"], row["attempt_id"]


def news(attempt_id: str | None, state: DisputeState, minor: int = 12100) -> GatewayDispute:
    amount = Money(minor, "EUR")
    return GatewayDispute("stripe", "dp_1", "pi_1", attempt_id, amount, state, "fraudulent", LONG_AFTER)


async def hear(bench: Workbench, tenant: str, *heard: GatewayDispute) -> None:
    for one in heard:
        async with bench.open(tenant) as uow:
            await take_in_dispute(one, now=LONG_AFTER, uow=uow)


PAID = {"cash": 12100, "revenue": -10000, "tax_payable": -2100}
OWED = {"accounts_receivable": 12100, "revenue": -10000, "tax_payable": -2100}


async def test_a_bank_takes_a_payment_back_and_loses(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """The invoice is due again, nobody tries to collect it, and it is paid again when the money is back."""
    async with billing.client(tenant, *BOTH) as client:
        _, invoice = await a_paid_invoice(bench, client, tenant)
        path = f"/v1/invoices/{invoice['id']}"
        _, attempt_id = await payment_of(bench, invoice)
        await hear(bench, tenant, news(attempt_id, "inquiry"))
        asked = await get(client, path)
        await hear(bench, tenant, news(attempt_id, "open"), news(attempt_id, "open"))
        taken, books = await get(client, path), await balances(bench, tenant)
        collected = await bench.collect(clock=FixedClock(LONG_AFTER + timedelta(days=400)))
        (dispute,) = await listed(client, "/v1/disputes", state="open")
        for state in ("won", "lost", "won", "won"):
            await hear(bench, tenant, news(attempt_id, state))  # type: ignore[arg-type]
            back, over = await get(client, path), await get(client, f"/v1/disputes/{dispute['id']}")
    assert (asked["status"], taken["status"], back["status"]) == ("paid", "finalized", "paid")
    assert (taken["due"], taken["paid"], taken["paid_at"]) == (eur("121.00"), eur("0.00"), None)
    assert (books, await balances(bench, tenant), collected) == (OWED, PAID, 0)
    assert (dispute["taken"], dispute["gateway"]) == (eur("121.00"), "stripe")
    assert (over["state"], over["taken"]) == ("won", eur("0.00"))
    events = [name for name in await told(bench, tenant) if name.startswith(("invoice.", "dispute"))]
    assert events[2:] == [
        "dispute.changed.v1",
        *["invoice.reopened.v1", "dispute.changed.v1", "invoice.paid.v1", "dispute.changed.v1"] * 2,
    ]
    await rounds_are_told_in_order(bench, tenant)


async def rounds_are_told_in_order(bench: Workbench, tenant: str) -> None:
    found = await bench.rows(
        """SELECT type, convert_from(data, 'UTF8')::jsonb AS told FROM outbox
           WHERE tenant = $1 AND type IN ('perennial.billing.invoice.paid.v1', 'perennial.billing.invoice.reopened.v1')
           ORDER BY position""",
        tenant,
    )

    rounds = [json.loads(row["told"])["invoice"].get("reopened_count", 0) for row in found]
    assert rounds == [0, 1, 1, 2, 2]
    versions = [json.loads(row["told"])["version"] for row in found]
    assert all(one < other for one, other in pairwise(versions))


async def test_what_comes_before_its_payment_is_asked_for_again(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        (attempt,) = await bench.attempts(tenant)
        with pytest.raises(PaymentNotKnownYet):
            await hear(bench, tenant, news(attempt["id"], "open"))
        await bench.run_job("collect_payments")
        await hear(
            bench, tenant, news(attempt["id"], "open"), news("pay_unknown", "open"), news(None, "open")
        )
        shown = await get(client, f"/v1/invoices/{invoice['id']}")
        disputes = await listed(client, "/v1/disputes")
    assert (shown["status"], len(disputes)) == ("finalized", 1)


async def test_a_bank_tells_by_letter_and_a_part_comes_back(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """121.00 were paid, 100.00 of it is asked back; it is lost, but 30.00 come back."""
    async with billing.client(tenant, *BOTH) as client:
        _, invoice = await a_paid_invoice(bench, client, tenant)
        payment_id, _ = await payment_of(bench, invoice)
        letter = {"payment_id": payment_id, "reason": "Goods not received", "reference": "CB-9"}
        too_much = await post(client, "/v1/disputes", {**letter, "amount": eur("121.01")}, expecting=422)
        dispute = await post(client, "/v1/disputes", {**letter, "amount": eur("100.00"), "fee": eur("15.00")})
        path = f"/v1/disputes/{dispute['id']}"
        accepted = await post(client, f"{path}/accept", {})
        over = await post(client, f"{path}/outcome", {"outcome": "lost", "returned": eur("30.00")})
        again = await post(client, f"{path}/outcome", {"outcome": "won"}, expecting=409)
        shown = await get(client, f"/v1/invoices/{invoice['id']}")
        paid = await post(client, f"/v1/invoices/{invoice['id']}/payment-attempts", {}, expecting=202)
        await bench.run_job("collect_payments")
        after = await get(client, f"/v1/invoices/{invoice['id']}")
    assert [too_much["code"], again["code"]] == ["dispute_too_large", "dispute_state_wrong"]
    assert (dispute["state"], dispute["fee"], accepted["state"]) == ("open", eur("15.00"), "accepted")
    assert (over["state"], over["taken"], over["returned"]) == ("lost", eur("70.00"), eur("30.00"))
    assert (shown["status"], shown["due"]) == ("finalized", eur("70.00"))
    assert (paid["amount"], after["status"]) == (eur("70.00"), "paid")
    assert await balances(bench, tenant) == {**PAID, "cash": 12100 - 1500, "dispute_fees": 1500}


async def test_won_after_somebody_paid_otherwise_it_is_owed_to_the_customer(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story, invoice = await a_paid_invoice(bench, client, tenant)
        _, attempt_id = await payment_of(bench, invoice)
        await hear(bench, tenant, news(attempt_id, "open"))
        await transfer(bench, tenant, story, 12100, invoice)
        await hear(bench, tenant, news(attempt_id, "won"))
        (balance,) = await listed(client, "/v1/customer-balances", customer_id=story.customer.customer_id)
    assert balance["balance"] == eur("121.00")
    assert await balances(bench, tenant) == {**PAID, "cash": 24200, "customer_credit": -12100}


async def test_what_the_balance_was_given_and_used_is_a_loss_and_a_mistake_is_refused(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """200.00 came for nothing; 121.00 of it paid an invoice from the balance; then all of it is gone."""
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        payment_id = await transfer(bench, tenant, story, 20000)
        await an_invoice(client, story, ("1", "100.00"))
        command = ReversePayment(payment_id, None, "mistake", "typed twice", LONG_AFTER)
        with pytest.raises(PaymentNotReversible):
            async with bench.open(tenant) as uow:
                await reverse_payment(command, uow=uow)
        async with bench.open(tenant) as uow:
            await reverse_payment(ReversePayment(payment_id, None, "returned", "AC04", LONG_AFTER), uow=uow)
    assert await balances(bench, tenant) == {"bad_debt": 12100, "revenue": -10000, "tax_payable": -2100}


@pytest.mark.parametrize("used", [False, True])
async def test_a_deposit_whose_payment_is_taken_back(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, used: bool
) -> None:
    """It is asked for again while it is whole; what was used of it is a loss, until somebody pays it after all."""
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        body = {"customer_id": story.customer.customer_id, "amount": eur("500.00")}
        asked = await post(client, "/v1/deposits", body)
        await bench.run_job("collect_payments")
        if used:
            damage = {
                "customer_id": story.customer.customer_id,
                "amount": eur("60.00"),
                "description": "Chair",
            }
            note = await post(client, "/v1/compensation-notes", damage)
            await post(client, f"/v1/deposits/{asked['id']}/set-offs", {"invoice_id": note["id"]})
        document = {"id": asked["invoice_id"]}
        payment_id, _ = await payment_of(bench, document)
        await post(client, "/v1/disputes", {"payment_id": payment_id, "reason": "fraudulent"})
        gone = await get(client, f"/v1/invoices/{asked['invoice_id']}")
        deposit = await get(client, f"/v1/deposits/{asked['id']}")
        await transfer(bench, tenant, story, 50000, document)
        again = await get(client, f"/v1/deposits/{asked['id']}")
    assert (gone["status"], deposit["state"]) == (
        ("uncollectible", "collected") if used else ("finalized", "requested")
    )
    assert again["state"] == "collected"
    assert (await balances(bench, tenant))["cash"] == 50000


async def test_portal_tokens_see_only_their_customers_disputes(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story, invoice = await a_paid_invoice(bench, client, tenant)
        payment_id, _ = await payment_of(bench, invoice)
        dispute = await post(client, "/v1/disputes", {"payment_id": payment_id, "reason": "fraudulent"})
    customer_id = story.customer.customer_id
    async with billing.client(tenant, *BOTH, customer=customer_id) as portal:
        (own,) = await listed(portal, "/v1/disputes")
        assert await get(portal, f"/v1/disputes/{dispute['id']}") == own == dispute
    async with billing.client(tenant, *BOTH, customer="cus_" + "0" * 26) as portal:
        assert await listed(portal, "/v1/disputes") == []
        assert await listed(portal, "/v1/disputes", customer_id=customer_id) == []
        hidden = await portal.get(f"/v1/disputes/{dispute['id']}")
    assert (hidden.status_code, hidden.json()["code"]) == (404, "dispute_not_found")

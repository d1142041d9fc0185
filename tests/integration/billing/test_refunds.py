"""Refunds: the money goes back along the payments that brought it, once, whatever the gateway does."""

from __future__ import annotations

import asyncio
import random
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest

from libs.common.ids import new_id
from libs.common.money import Money
from services.billing.adapters.sandbox_gateway import SandboxGateway
from services.billing.application.ask_about_refund import ask_about_refund
from services.billing.application.receive_payment import ReceivePayment, Share, receive_payment
from services.billing.domain.payment import RefundFailed, RefundOutcome
from services.billing.entrypoints.outside_calls import CallOutside
from services.billing.entrypoints.refund_job import GiveRefunds
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
from tests.integration.billing.workbench import LONG_AFTER, RETRY_DAYS, Workbench
from tests.support.billing import Story
from tests.support.clocks import FixedClock
from tests.support.service_under_test import ServiceUnderTest

CLAIM_S = 30
SEEDS = 5
SEEDS_LONG = 1_000


async def a_paid_invoice(
    bench: Workbench, client: Any, tenant: str, behaviour: str = "succeeds"
) -> tuple[Story, Thing]:
    """121.00, collected."""
    story = await a_customer(bench, client, tenant)
    await bench.add_method(story, behaviour)
    invoice = await an_invoice(client, story, ("1", "100.00"))
    await bench.run_job("collect_payments")
    return story, invoice


async def credit(client: Any, invoice: Thing, **more: Any) -> list[Thing]:
    """All of it back as money; returns its refunds."""
    body = {"invoice_id": invoice["id"], "reason": "Never delivered", "rest_to": "refund", **more}
    note = await post(client, "/v1/credit-notes", body)
    return await listed(client, "/v1/refunds", credit_note_id=note["id"])


async def transfer(
    bench: Workbench, tenant: str, story: Story, minor: int, invoice: Thing | None = None
) -> str:
    """Money that came by bank transfer, for the invoice, or for the balance."""
    command = ReceivePayment(
        id=new_id("pmt"),
        way="bank_transfer",
        amount=Money(minor, "EUR"),
        received_on=date(2026, 3, 1),
        now=LONG_AFTER,
        to=[Share(invoice["id"], Money(minor, "EUR"))] if invoice else [],
        rest="balance",
        customer_id=story.customer.customer_id,
    )
    async with bench.open(tenant) as uow:
        return (await receive_payment(command, uow=uow)).id


async def given(bench: Workbench, refund_id: str) -> list[int]:
    """What the sandbox gave back, key by key."""
    rows = await bench.rows(
        """SELECT amount_minor FROM sandbox_gateway_refund WHERE succeeded
           AND split_part(idempotency_key, '-', 1) = $1 ORDER BY idempotency_key""",
        refund_id,
    )
    return [row["amount_minor"] for row in rows]


async def test_a_refund_goes_back_along_the_payment_and_is_posted(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        _, invoice = await a_paid_invoice(bench, client, tenant)
        (waiting,) = await credit(client, invoice, amount=eur("60.50"))
        assert await balances(bench, tenant) == {
            "cash": 12100, "refunds_payable": -6050, "revenue": -5000, "tax_payable": -1050,
        }  # fmt: skip
        assert await bench.run_job("give_refunds") == 1
        over = await get(client, f"/v1/refunds/{waiting['id']}")
        refused = await post(client, f"/v1/refunds/{waiting['id']}/cancel", {}, expecting=409)
    assert (waiting["state"], over["state"], over["amount"]) == ("pending", "succeeded", eur("60.50"))
    assert refused["code"] == "refund_state_wrong"
    assert await balances(bench, tenant) == {"cash": 6050, "revenue": -5000, "tax_payable": -1050}
    assert await given(bench, over["id"]) == [6050]
    assert [name for name in await told(bench, tenant) if name.startswith("refund")] == [
        "refund.requested.v1",
        "refund.succeeded.v1",
    ]
    assert await bench.run_job("give_refunds") == 0


async def test_what_the_gateway_refuses_is_tried_again_and_then_goes_to_the_balance(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story, invoice = await a_paid_invoice(bench, client, tenant, "refund_fails")
        (refund,) = await credit(client, invoice)
        path, clock = f"/v1/refunds/{refund['id']}", FixedClock(LONG_AFTER)
        seen = []
        for days in (0, *RETRY_DAYS):
            clock.advance(timedelta(days=days))
            await bench.run_job("give_refunds", clock=clock)
            shown = await get(client, path)
            seen.append((shown["state"], shown["try_number"], shown["failure"]))
        again = await post(client, f"{path}/retry", {})
        await bench.run_job("give_refunds", clock=clock)
        canceled = await post(client, f"{path}/cancel", {})
        (balance,) = await listed(client, "/v1/customer-balances", customer_id=story.customer.customer_id)
    declined = "declined_by_sandbox"
    assert seen == [("pending", 2, declined), ("pending", 3, declined), ("failed", 3, declined)]
    assert (again["state"], again["try_number"]) == ("pending", 4)
    assert (canceled["state"], balance["balance"]) == ("canceled", eur("121.00"))
    assert await balances(bench, tenant) == {"cash": 12100, "customer_credit": -12100}
    assert await given(bench, refund["id"]) == []
    assert [name for name in await told(bench, tenant) if name.startswith("refund")] == [
        "refund.requested.v1", *["refund.failed.v1"] * 4, "refund.canceled.v1",
    ]  # fmt: skip


async def test_an_unknown_outcome_is_asked_about_before_anything_is_tried(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        _, invoice = await a_paid_invoice(bench, client, tenant, "refund_times_out_once")
        (refund,) = await credit(client, invoice)
        clock = FixedClock(LONG_AFTER)
        await bench.run_job("give_refunds", clock=clock)
        unknown = await get(client, f"/v1/refunds/{refund['id']}")
        refused = await post(client, f"/v1/refunds/{refund['id']}/paid", {"reference": "x"}, expecting=409)
        clock.advance(timedelta(seconds=CLAIM_S))
        await bench.run_job("give_refunds", clock=clock)
        over = await get(client, f"/v1/refunds/{refund['id']}")
    assert (unknown["state"], refused["code"], over["state"]) == ("calling", "refund_under_way", "succeeded")
    assert await given(bench, refund["id"]) == [12100]


async def test_a_refund_that_is_taken_up_succeeds_later_and_may_still_come_back(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        _, invoice = await a_paid_invoice(bench, client, tenant, "refund_pending")
        (refund,) = await credit(client, invoice)
        clock = FixedClock(LONG_AFTER)
        await bench.run_job("give_refunds", clock=clock)
        taken_up = await get(client, f"/v1/refunds/{refund['id']}")
        await hear(bench, tenant, refund["id"])
        await bench.run_job("give_refunds", clock=clock)
        over = await get(client, f"/v1/refunds/{refund['id']}")
        books = await balances(bench, tenant)
        async with bench.admin() as admin:  # its bank sends it back
            await admin.execute(
                "UPDATE sandbox_gateway_refund SET succeeded = false WHERE idempotency_key = $1", refund["id"]
            )
        await hear(bench, tenant, refund["id"])
        await hear(bench, tenant, new_id("rfd"))
        await bench.run_job("give_refunds", clock=clock)
        back = await get(client, f"/v1/refunds/{refund['id']}")
        by_hand = await post(client, f"/v1/refunds/{refund['id']}/paid", {"reference": "SEPA 17"})
    assert (taken_up["state"], over["state"]) == ("processing", "succeeded")
    assert (back["state"], back["try_number"]) == ("pending", 2)
    assert not {"cash", "refunds_payable"} & books.keys()
    assert (by_hand["state"], by_hand["paid_reference"]) == ("succeeded", "SEPA 17")
    assert await balances(bench, tenant) == books


async def hear(bench: Workbench, tenant: str, refund_id: str) -> None:
    async with bench.open(tenant) as uow:
        await ask_about_refund(refund_id, now=LONG_AFTER, uow=uow)


async def test_what_several_payments_brought_goes_back_the_newest_first(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """A transfer of 50.00 came first, the card paid the rest of 71.00: 100.00 are given back."""
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        first = await transfer(bench, tenant, story, 5000, invoice)
        await bench.add_method(story)
        await bench.run_job("collect_payments", clock=FixedClock(LONG_AFTER + timedelta(minutes=1)))
        refunds = await credit(client, invoice, amount=eur("100.00"))
        by_hand = next(one for one in refunds if one["payment_id"] == first)
        by_card = next(one for one in refunds if one["payment_id"] != first)
        retried = await post(client, f"/v1/refunds/{by_hand['id']}/retry", {}, expecting=409)
        await bench.run_job("give_refunds")
        manual = await listed(client, "/v1/refunds", state="manual")
        await post(client, f"/v1/refunds/{by_hand['id']}/paid", {"reference": "SEPA 18"})
        twice = await credit(client, invoice)
    assert (by_card["amount"], by_card["state"]) == (eur("71.00"), "pending")
    assert (by_hand["amount"], by_hand["state"]) == (eur("29.00"), "manual")
    assert retried["code"] == "refund_state_wrong"
    assert [one["id"] for one in manual] == [by_hand["id"]]
    assert [(one["amount"], one["payment_id"]) for one in twice] == [(eur("21.00"), first)]
    assert (await balances(bench, tenant))["cash"] == 2100


async def test_an_overpayment_is_given_back_and_goodwill_is_for_a_person(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        of = {"customer_id": story.customer.customer_id}
        over = await transfer(bench, tenant, story, 3000)
        await post(
            client, "/v1/customer-balances/adjustments", {**of, "amount": eur("5.00"), "reason": "Sorry"}
        )
        wanted = {**of, "amount": eur("33.00"), "reason": "Paid twice"}
        refunds = (await post(client, "/v1/refunds", wanted))["data"]
        too_much = await post(client, "/v1/refunds", wanted, expecting=422)
        named = {**of, "amount": eur("1.00"), "reason": "x", "payment_id": over}
        all_gone = await post(client, "/v1/refunds", named, expecting=422)
        of_another = {**named, "payment_id": new_id("pmt")}
        unknown = await post(client, "/v1/refunds", of_another, expecting=404)
        await post(client, f"/v1/refunds/{refunds[1]['id']}/cancel", {})
    assert [(one["amount"], one["payment_id"], one["state"]) for one in refunds] == [
        (eur("30.00"), over, "manual"), (eur("3.00"), None, "manual"),
    ]  # fmt: skip
    assert [too_much["code"], all_gone["code"], unknown["code"]] == [
        "balance_too_small", "refund_too_large", "payment_not_found",
    ]  # fmt: skip
    assert await balances(bench, tenant) == {
        "cash": 3000, "customer_credit": -500, "goodwill": 500, "refunds_payable": -3000,
    }  # fmt: skip


async def test_a_payment_that_was_taken_back_is_not_given_back_as_well(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        _, invoice = await a_paid_invoice(bench, client, tenant)
        (refund,) = await credit(client, invoice, amount=eur("60.50"))
        await post(client, "/v1/disputes", {"payment_id": refund["payment_id"], "reason": "Not his card"})
        await bench.run_job("give_refunds")
        left = await get(client, f"/v1/refunds/{refund['id']}")
        await post(client, f"/v1/refunds/{refund['id']}/cancel", {})
    assert (left["state"], left["failure"]) == ("manual", "the payment was taken back")
    assert await given(bench, refund["id"]) == []
    assert (await balances(bench, tenant))["accounts_receivable"] == 12100


async def test_the_database_refuses_more_than_a_payment_brought(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        _, invoice = await a_paid_invoice(bench, client, tenant)
        (refund,) = await credit(client, invoice, amount=eur("60.50"))
    async with bench.admin() as admin:
        copied = """INSERT INTO refund (tenant, id, customer_id, amount_minor, currency, state, reason, created_at,
                                        payment_id)
                    SELECT tenant, $1, customer_id, $2, currency, 'manual', reason, created_at, payment_id
                    FROM refund WHERE id = $3"""
        with pytest.raises(asyncpg.CheckViolationError, match="exceeds what its payment brought"):
            await admin.execute(copied, new_id("rfd"), 6051, refund["id"])
        await admin.execute(copied, new_id("rfd"), 6050, refund["id"])


async def test_two_people_and_the_job_at_once_settle_a_refund_once(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        _, invoice = await a_paid_invoice(bench, client, tenant)
        (refund,) = await credit(client, invoice)
        path = f"/v1/refunds/{refund['id']}"
        answers = await asyncio.gather(
            client.post(f"{path}/paid", json={"reference": "a"}, headers={"idempotency-key": new_id("key")}),
            client.post(f"{path}/cancel", json={}, headers={"idempotency-key": new_id("key")}),
            bench.run_job("give_refunds"),
        )
        over = await get(client, path)
    codes = [answer.status_code for answer in answers if not isinstance(answer, int)]
    settled = codes.count(201) + len(await given(bench, refund["id"]))
    assert (settled, over["state"] in ("succeeded", "canceled")) == (1, True)
    books = await balances(bench, tenant)
    assert books.get("cash", 0) == -books.get("customer_credit", 0)


class Faulty(SandboxGateway):
    """Answers late, twice or not at all, with or without having given the money back. A no is final for its key."""

    def __init__(self, gateway: SandboxGateway, chance: random.Random) -> None:
        super().__init__(gateway._database)
        self._chance, self.is_calm = chance, False
        self._given: set[str] = set()
        self._declined: set[str] = set()

    async def refund(self, **asked: Any) -> RefundOutcome:
        key = asked["idempotency_key"]
        fate = 1.0 if self.is_calm else self._chance.random()
        if fate < 0.2:
            raise ConnectionResetError("before it was heard")
        if key in self._declined or (fate < 0.4 and key not in self._given):
            self._declined.add(key)
            return RefundFailed("try again")
        self._given.add(key)
        for _ in range(self._chance.choice((1, 2))):
            outcome = await super().refund(**asked)
        if fate < 0.75:
            raise ConnectionResetError("after it was done")
        return outcome

    async def find_refund(self, **asked: Any) -> RefundOutcome | None:
        if not self.is_calm and self._chance.random() < 0.3:
            raise ConnectionResetError("nobody answers")
        return await super().find_refund(**asked)


async def live_through(seed: int, bench: Workbench, refunds: list[Thing]) -> None:
    """Workers come and go; their clocks are apart; in the end all is calm."""
    chance = random.Random(seed)
    clock, gateway = FixedClock(LONG_AFTER), Faulty(bench.gateway, chance)

    def worker() -> Any:
        return CallOutside(
            GiveRefunds(gateways={"sandbox": gateway}, retry_days=(1,) * 50),
            units=bench.units,
            clock=FixedClock(clock.now + timedelta(seconds=chance.choice((0, 1, 45)))),
            claim_s=CLAIM_S,
            calls_at_once=2,
        )

    for _ in range(5):
        tasks = [asyncio.create_task(worker().run_once()) for _ in range(2)]
        if chance.random() < 0.4:
            await asyncio.sleep(chance.random() * 0.02)
            tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        clock.advance(timedelta(seconds=chance.choice((5, 40, 90_000))))
    gateway.is_calm = True
    for _ in range(8):
        clock.advance(timedelta(days=2))
        await worker().run_once()
    for refund in refunds:
        (row,) = await bench.rows("SELECT state FROM refund WHERE id = $1", refund["id"])
        assert row["state"] == "succeeded", f"seed {seed}"
        assert await given(bench, refund["id"]) == [6050], f"seed {seed}"


async def seeds(billing: ServiceUnderTest, bench: Workbench, tenant: str, count: int) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        for seed in range(count):
            invoice = await an_invoice(client, story, ("1", "100.00"))
            await bench.run_job("collect_payments")
            await live_through(seed, bench, await credit(client, invoice, amount=eur("60.50")))
    assert (await balances(bench, tenant))["cash"] == count * 6050


async def test_a_refund_is_given_once_whatever_the_gateway_does(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await seeds(billing, bench, tenant, SEEDS)


@pytest.mark.long
async def test_a_thousand_refunds_are_given_once(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await seeds(billing, bench, tenant, SEEDS_LONG)

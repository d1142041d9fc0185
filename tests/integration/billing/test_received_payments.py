"""Money that comes by hand and by bank: put on invoices and balances, taken back, matched or left for a person."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from libs.common.ids import new_id
from services.billing.domain.remittance import creditor_reference, in_groups
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
    problems,
    told,
)
from tests.integration.billing.workbench import Workbench
from tests.support.bank_statements import Paid, booked, camt053
from tests.support.billing import Story
from tests.support.billing import a_customer as somebody
from tests.support.service_under_test import ServiceUnderTest, new_tenant

OTHER = "DE02120300000000202051"
MINE = (
    "payments_",
    "ledger_",
    "unapplied_",
    "receivables_",
    "gateway_payments",
    "customer_balances",
    "issued_",
)


@dataclass
class Office:
    """One seller, one customer who pays by transfer, and who keeps the books."""

    bench: Workbench
    client: httpx.AsyncClient
    tenant: str
    story: Story

    @property
    def customer_id(self) -> str:
        return self.story.customer.customer_id

    async def invoice(self, amount: str = "100.00", **more: Any) -> Thing:
        return await an_invoice(self.client, self.story, ("1", amount), **more)

    async def pay(self, amount: str, **more: Any) -> Thing:
        body = {"customer_id": self.customer_id, "amount": eur(amount), "way": "cheque", **more}
        return await post(self.client, "/v1/payments", body)

    async def take_in(self, content: bytes, *, expecting: int = 201, **query: str) -> Thing:
        kind = "application/xml" if content[:1] == b"<" else "text/csv"
        headers = {"content-type": kind}
        answer = await self.client.post("/v1/bank-statements", content=content, params=query, headers=headers)
        assert answer.status_code == expecting, answer.text
        found: Thing = answer.json()
        return found

    async def match(self) -> int:
        return await self.bench.run_job("match_statement_entries")

    async def entries(self, **query: str) -> list[Thing]:
        return await listed(self.client, "/v1/bank-statement-entries", **query)

    async def is_sound(self) -> None:
        wrong = [one for one in await problems(self.bench, self.tenant) if one.startswith(MINE)]
        assert wrong == []


@pytest_asyncio.fixture
async def office(billing: ServiceUnderTest, bench: Workbench, tenant: str) -> AsyncIterator[Office]:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        profile = {"pays_by": "bank_transfer"}
        path = f"/v1/billing-profiles/{story.customer.customer_id}"
        answer = await client.put(path, json=profile, headers={"if-match": '"0"'})
        assert answer.status_code == 200, answer.text
        yield Office(bench, client, tenant, story)


def reference_of(invoice: Thing) -> str:
    return creditor_reference(invoice["number"], invoice["id"])


async def test_who_pays_by_transfer_is_asked_for_nothing(office: Office) -> None:
    invoice = await office.invoice()
    assert await office.bench.attempts(office.tenant) == []
    assert invoice["payment_reference"] == reference_of(invoice)
    (dunning,) = await office.bench.rows("SELECT * FROM dunning WHERE tenant = $1", office.tenant)
    assert dunning["due_at"] is not None
    attempt = await post(office.client, f"/v1/invoices/{invoice['id']}/payment-attempts", {}, expecting=202)
    assert attempt["number"] == 1
    await office.is_sound()


async def test_part_by_part_and_what_is_too_much_is_the_customers(office: Office) -> None:
    first, second = await office.invoice("100.00"), await office.invoice("50.00")
    part = await office.pay("60.00", allocations=[{"invoice_id": first["id"], "amount": eur("60.00")}])
    assert (part["allocated"], part["unapplied"], part["state"]) == (eur("60.00"), eur("0.00"), "received")
    assert (await get(office.client, f"/v1/invoices/{first['id']}"))["due"] == eur("61.00")
    rest = await office.pay("130.00", allocate="oldest_first")
    assert [one["amount"] for one in rest["allocations"]] == [eur("61.00"), eur("60.50"), eur("8.50")]
    assert rest["to_balance"] == eur("8.50")
    for invoice in (first, second):
        assert (await get(office.client, f"/v1/invoices/{invoice['id']}"))["status"] == "paid"
    assert (await told(office.bench, office.tenant)).count("invoice.paid.v1") == 2
    books = await balances(office.bench, office.tenant)
    assert (books["cash"], books["customer_credit"]) == (19000, -850)
    assert "unapplied_payments" not in books
    assert "accounts_receivable" not in books
    mine = await listed(office.client, "/v1/payments", invoice_id=first["id"])
    assert [one["id"] for one in mine] == [part["id"], rest["id"]]
    await office.is_sound()


async def test_what_does_not_fit_is_refused_and_nothing_is_done(office: Office) -> None:
    invoice, other = await office.invoice("100.00"), await office.invoice("10.00")
    wanted = [
        {"invoice_id": invoice["id"], "amount": eur("121.01")},
        {"invoice_id": other["id"], "amount": eur("12.10")},
    ]
    body = {"customer_id": office.customer_id, "amount": eur("500.00"), "way": "cash", "allocations": wanted}
    refused = await post(office.client, "/v1/payments", body, expecting=422)
    assert refused["errors"][0]["pointer"] == "/allocations/0/amount"
    small = {**body, "amount": eur("1.00"), "allocations": wanted[1:]}
    assert (await post(office.client, "/v1/payments", small, expecting=422))["code"] == "payment_too_small"
    assert await listed(office.client, "/v1/payments", customer_id=office.customer_id) == []


async def test_an_allocation_is_taken_back_and_put_elsewhere(office: Office) -> None:
    right, wrong = await office.invoice("100.00"), await office.invoice("100.00")
    paid = await office.pay("121.00", allocations=[{"invoice_id": wrong["id"]}])
    path = f"/v1/payments/{paid['id']}/allocations"
    (made,) = paid["allocations"]
    back = await post(office.client, f"{path}/{made['id']}/take-back", {"reason": "The other one"})
    assert (back["unapplied"], back["allocated"]) == (eur("121.00"), eur("0.00"))
    assert (await get(office.client, f"/v1/invoices/{wrong['id']}"))["status"] == "finalized"
    again = await post(office.client, f"{path}/{made['id']}/take-back", {"reason": "Again"}, expecting=409)
    assert again["code"] == "allocation_not_reversible"
    await post(office.client, path, {"allocations": [{"invoice_id": right["id"]}]})
    assert (await get(office.client, f"/v1/invoices/{right['id']}"))["status"] == "paid"
    gone = await post(office.client, f"/v1/payments/{paid['id']}/reversals", {"reason": "It bounced"})
    assert (gone["state"], gone["reversed"]) == ("reversed", eur("121.00"))
    assert (await get(office.client, f"/v1/invoices/{right['id']}"))["due"] == eur("121.00")
    assert "cash" not in await balances(office.bench, office.tenant)
    await office.is_sound()


async def test_a_transfer_lessens_what_the_gateway_is_to_ask_for(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        office = Office(bench, client, tenant, await a_customer(bench, client, tenant))
        invoice, other = await office.invoice("100.00"), await office.invoice("50.00")
        await office.pay("21.00", allocations=[{"invoice_id": invoice["id"]}])
        await office.pay("60.50", allocations=[{"invoice_id": other["id"]}])
        attempts = {row["invoice_id"]: row for row in await bench.attempts(tenant)}
        assert (attempts[invoice["id"]]["state"], attempts[invoice["id"]]["amount_minor"]) == (
            "pending",
            10000,
        )
        assert (attempts[other["id"]]["state"], attempts[other["id"]]["reason"]) == ("canceled", "paid")
        await bench.add_method(office.story)
        await bench.collect()
        assert (await get(client, f"/v1/invoices/{invoice['id']}"))["status"] == "paid"
        assert (await balances(bench, tenant))["cash"] == 12100 + 6050
        payments = await listed(client, "/v1/payments", invoice_id=invoice["id"])
        assert [one["way"] for one in payments] == ["cheque", "gateway"]
        refused = await post(
            client, f"/v1/payments/{payments[1]['id']}/reversals", {"reason": "no"}, expecting=409
        )
        assert refused["code"] == "payment_not_reversible"
        await office.is_sound()


async def test_a_statement_is_matched_as_far_as_it_is_certain(office: Office) -> None:
    by_reference, in_text, by_number, twice = [await office.invoice(f"{n}0.00") for n in (1, 2, 3, 4)]
    statement = camt053(
        booked(Paid("12.10", structured=reference_of(by_reference)), reference="A1"),
        booked(Paid("30.00", f"thanks {in_groups(reference_of(in_text))}"), reference="A2"),
        booked(Paid("36.30", f"Invoice {by_number['number'].replace('-', ' ')}", iban=OTHER), reference="A3"),
        booked(Paid("47.00", f"Invoice {twice['number']}"), reference="A4"),
        booked(Paid("99.00", "who knows", iban=None), reference="A5"),
        booked(Paid("5.00", "rent"), is_debit=True, reference="A6"),
    )  # fmt: skip
    taken = await office.take_in(statement)
    assert (taken["state"], taken["new_count"], taken["entries"]["pending"]) == ("matching", 6, 6)
    await office.match()
    done = await get(office.client, f"/v1/bank-statements/{taken['id']}")
    assert (done["state"], done["entries"]) == (
        "done",
        {"pending": 0, "unmatched": 2, "matched": 3, "ignored": 1},
    )
    assert done["accounts"][0]["balances_agree"] is True
    for invoice, status in (
        (by_reference, "paid"),
        (in_text, "paid"),
        (by_number, "paid"),
        (twice, "finalized"),
    ):
        assert (await get(office.client, f"/v1/invoices/{invoice['id']}"))["status"] == status
    matched = await office.entries(state="matched")
    assert {one["bank_reference"]: one["matched_by"] for one in matched} == {
        "A1": "reference",
        "A2": "reference",
        "A3": "number",
    }
    books = await balances(office.bench, office.tenant)
    assert books["unapplied_payments"] == -(4700 + 9900)
    assert books["customer_credit"] == -(3000 - 2420)
    unmatched = {one["bank_reference"]: one for one in await office.entries(state="unmatched")}
    assert [(one["invoice_id"], one["because"], one["is_exact"]) for one in unmatched["A4"]["proposals"]] == [
        (twice["id"], "number", False)
    ]
    path = f"/v1/bank-statement-entries/{unmatched['A4']['id']}"
    pays = await post(
        office.client, f"{path}/match", {"allocations": [{"invoice_id": twice["id"]}]}, expecting=200
    )
    assert (pays["state"], pays["matched_by"], pays["proposals"]) == ("matched", "person", [])
    assert (await get(office.client, f"/v1/invoices/{twice['id']}"))["due"] == eur("1.40")
    nobody = f"/v1/bank-statement-entries/{unmatched['A5']['id']}"
    gone = await post(office.client, f"{nobody}/ignore", {"reason": "interest"}, expecting=200)
    assert gone["state"] == "ignored"
    assert "unapplied_payments" not in await balances(office.bench, office.tenant)
    up = await post(office.client, f"{nobody}/unmatch", {"reason": "after all"}, expecting=200)
    assert up["state"] == "unmatched"
    theirs = await post(office.client, f"{nobody}/match", {"customer_id": office.customer_id}, expecting=200)
    assert theirs["state"] == "matched"
    await post(office.client, f"{path}/match", {"customer_id": office.customer_id}, expecting=409)
    wrong = await post(office.client, f"{path}/unmatch", {"reason": "not his"}, expecting=200)
    assert wrong["state"] == "unmatched"
    assert (await get(office.client, f"/v1/invoices/{twice['id']}"))["due"] == eur("48.40")
    await office.is_sound()


async def test_a_known_account_pays_the_one_invoice_of_its_amount(office: Office) -> None:
    first, second, alike, other = [await office.invoice(a) for a in ("10.00", "20.00", "30.00", "30.00")]
    iban = "DE02120300000000202051"
    await office.take_in(
        camt053(booked(Paid("12.10", structured=reference_of(first), iban=iban), reference="1"))
    )
    await office.match()
    await office.take_in(
        camt053(
            booked(Paid("24.20", "no word of it", iban=iban), reference="2"),
            booked(Paid("36.30", "which one?", iban=iban), reference="3"),
            statement_id="STMT-2",
        )
    )
    await office.match()
    assert (await get(office.client, f"/v1/invoices/{second['id']}"))["status"] == "paid"
    (unsure,) = await office.entries(state="unmatched")
    assert {one["invoice_id"] for one in unsure["proposals"]} == {alike["id"], other["id"]}
    assert {one["because"] for one in unsure["proposals"]} == {"account"}
    await office.is_sound()


async def test_the_same_file_at_once_and_the_same_entry_again_count_once(office: Office) -> None:
    invoice = await office.invoice("100.00")
    entry = booked(Paid("121.00", structured=reference_of(invoice)), reference="A1")
    content = camt053(entry, booked(Paid("7.00"), reference="A2"))
    answers = await asyncio.gather(*[office.take_in(content) for _ in range(4)])
    assert len({one["id"] for one in answers}) == 1
    await asyncio.gather(office.match(), office.match())
    again = await office.take_in(camt053(entry, booked(Paid("1.00"), reference="A3"), statement_id="STMT-2"))
    assert (again["entry_count"], again["new_count"]) == (2, 1)
    await office.match()
    assert (await balances(office.bench, office.tenant))["cash"] == 12100 + 700 + 100
    assert (await get(office.client, f"/v1/invoices/{invoice['id']}"))["status"] == "paid"
    await office.is_sound()


async def test_what_the_bank_takes_back_is_due_again(office: Office) -> None:
    invoice = await office.invoice("100.00")
    came = booked(Paid("121.00", structured=reference_of(invoice), end_to_end="E-1"), reference="A1")
    await office.take_in(camt053(came))
    await office.match()
    went = booked(
        Paid("121.00", "AC04 account closed", end_to_end="E-1", is_return=True),
        is_debit=True,
        is_reversal=True,
        reference="B1",
    )
    await office.take_in(camt053(went, statement_id="STMT-2"))
    await office.match()
    reopened = await get(office.client, f"/v1/invoices/{invoice['id']}")
    assert (reopened["status"], reopened["due"]) == ("finalized", eur("121.00"))
    assert "cash" not in await balances(office.bench, office.tenant)
    (back,) = await office.entries(direction="debit")
    assert (back["state"], back["matched_by"]) == ("matched", "original")
    await post(
        office.client, f"/v1/bank-statement-entries/{back['id']}/unmatch", {"reason": "no"}, expecting=200
    )
    assert (await get(office.client, f"/v1/invoices/{invoice['id']}"))["status"] == "paid"
    await post(
        office.client, f"/v1/bank-statement-entries/{back['id']}/match", {"payment_id": back["payment_id"]}, expecting=200
    )  # fmt: skip
    assert (await get(office.client, f"/v1/invoices/{invoice['id']}"))["status"] == "finalized"
    await office.is_sound()


async def test_a_table_is_taken_in_and_what_is_wrong_with_it_is_told(office: Office) -> None:
    invoice = await office.invoice("100.00")
    table = (
        f"Buchungstag;Betrag;Verwendungszweck;Name\n20.11.2026;121,00;Rechnung {invoice['number']};Huber\n"
    )
    refused = await office.take_in(table.encode(), expecting=422, currency="EUR")
    assert refused["errors"][0]["detail"].startswith("line 2, column 'own_account'")
    await office.take_in(table.encode(), account="AT61 1904 3002 3457 3201", currency="EUR")
    await office.match()
    (entry,) = await office.entries(state="matched")
    assert (entry["matched_by"], entry["account"]) == ("number", "AT611904300234573201")
    hostile = b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    assert (await office.take_in(hostile, expecting=422))["code"] == "bank_statement_unreadable"
    await office.is_sound()


async def test_what_is_too_long_is_refused_before_it_is_read(office: Office) -> None:
    answer = await office.client.post(
        "/v1/bank-statements", content=b"<" + b" " * (20 * 1024 * 1024), headers={"content-type": "application/xml"}
    )  # fmt: skip
    assert answer.status_code == 413


async def test_others_see_nothing_and_a_customer_sees_his_own(
    billing: ServiceUnderTest, office: Office
) -> None:
    paid = await office.pay("10.00")
    await office.take_in(camt053(booked(Paid("3.00"), reference="1")))
    (entry,) = await office.entries()
    async with billing.client(new_tenant(), *BOTH) as stranger:
        assert await listed(stranger, "/v1/payments") == []
        assert await listed(stranger, "/v1/bank-statements") == []
        for path in (f"/v1/payments/{paid['id']}", f"/v1/bank-statement-entries/{entry['id']}"):
            assert (await stranger.get(path)).status_code == 404
    async with billing.client(office.tenant, "billing:read", customer=office.customer_id) as portal:
        assert [one["id"] for one in await listed(portal, "/v1/payments")] == [paid["id"]]
        assert (await portal.get("/v1/bank-statements")).status_code == 403
    async with billing.client(office.tenant, "billing:read", customer=somebody().customer_id) as other:
        assert await listed(other, "/v1/payments") == []
        assert (await other.get(f"/v1/payments/{paid['id']}")).status_code == 404


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_is_done_the_sums_hold(office: Office, seed: int) -> None:
    """Payments, allocations, take-backs, reversals and credit notes in any order: no invoice is overpaid, and what
    came is what is on invoices, on the balance, and on nothing."""
    chance = random.Random(seed)
    invoices = [await office.invoice(f"{chance.randint(1, 90)}.{chance.randint(0, 99):02}") for _ in range(4)]
    payments: list[str] = []
    for _ in range(25):
        await _do_anything(office, chance, invoices, payments)
    rows = await office.bench.rows("SELECT * FROM payment WHERE tenant = $1", office.tenant)
    books = await balances(office.bench, office.tenant)
    came = sum(row["amount_minor"] - row["reversed_minor"] for row in rows)
    assert came == sum(
        row["allocated_minor"] + row["to_balance_minor"] + row["unapplied_minor"] for row in rows
    )
    assert came == books.get("cash", 0)
    assert sum(row["unapplied_minor"] for row in rows) == -books.get("unapplied_payments", 0)
    for row in await office.bench.invoices(office.tenant):
        assert (
            0
            <= row["paid_minor"] + row["credited_minor"]
            <= row["total_minor"] - row["balance_applied_minor"]
        )
    await office.is_sound()


async def _do_anything(
    office: Office, chance: random.Random, invoices: list[Thing], payments: list[str]
) -> None:
    """Also what is refused; whatever is, is refused with a reason."""
    invoice = chance.choice(invoices)
    amount = eur(f"{chance.randint(0, 60)}.{chance.randint(1, 99):02}")
    part = [{"invoice_id": invoice["id"], "amount": amount}]
    what = chance.choice(["pay", "pay", "oldest", "unapplied", "allocate", "back", "reverse", "credit"])
    if what in ("pay", "oldest", "unapplied") or not payments:
        told = {"pay": {"allocations": part}, "oldest": {"allocate": "oldest_first"}}.get(what, {})
        rest = "unapplied" if what == "unapplied" else chance.choice(["balance", "unapplied"])
        body = {"customer_id": office.customer_id, "amount": amount, "way": "cash", "rest_to": rest, **told}
        path = "/v1/payments"
    else:
        id = chance.choice(payments)
        made = [
            one
            for one in (await get(office.client, f"/v1/payments/{id}"))["allocations"]
            if not one["takes_back_id"]
        ]
        path, body = {
            "allocate": (f"/v1/payments/{id}/allocations", {"allocations": part}),
            "back": (
                f"/v1/payments/{id}/allocations/{chance.choice(made)['id'] if made else new_id('pal')}/take-back",
                {"reason": "wrong", **({"amount": amount} if chance.random() < 0.5 else {})},
            ),
            "reverse": (f"/v1/payments/{id}/reversals", {"reason": "wrong"}),
            "credit": ("/v1/credit-notes", {"invoice_id": invoice["id"], "reason": "late", "amount": amount}),
        }[what]
    answer = await office.client.post(path, json=body, headers={"idempotency-key": new_id("key")})
    assert answer.status_code in (201, 404, 409, 422), answer.text
    if path == "/v1/payments" and answer.status_code == 201:
        payments.append(answer.json()["id"])

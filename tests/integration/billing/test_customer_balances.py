"""Customer balances on a real database: given to by documents below zero, drawn on by those that follow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from libs.common.contracts.billing import CustomerBalanceChangedV1, InvoiceFinalizedV1, InvoicePaidV1
from libs.common.contracts.subscriptions import CustomerChangedV1, CustomerV1
from libs.common.money import Money
from services.billing.application.adjust_customer_balance import (
    AdjustCustomerBalance,
    adjust_customer_balance,
)
from services.billing.domain.customer_balance import BalanceEntry, BalanceTooSmall
from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import FEE, Story, a_customer
from tests.support.service_under_test import ServiceUnderTest, new_tenant

BOTH = ("billing:read", "billing:write")


def a_fee(amount: str, customer: CustomerV1, tenant: str, **options: Any) -> Story:
    """One aircraft for so much a month: below zero, it is given back."""
    fee = FEE.model_copy(update={"id": f"prc_{amount}", "unit_amount": Decimal(amount)})
    return Story(tenant, customer=customer, quantity="1", metered=False, fee=fee, **options)


async def adjust(bench: Workbench, story: Story, minor: int, currency: str = "USD") -> BalanceEntry:
    command = AdjustCustomerBalance(story.customer.customer_id, Money(minor, currency), "goodwill")
    async with bench.open(story.tenant) as uow:
        customer = await uow.customers.find(story.customer.customer_id)
        assert customer is not None
        return await adjust_customer_balance(
            command, customer=customer, now=bench.clock.system_now(), uow=uow
        )


async def balances(bench: Workbench, tenant: str) -> list[tuple[str, int, int]]:
    found = await bench.rows(
        "SELECT * FROM customer_balance WHERE tenant = $1 ORDER BY currency, customer_id", tenant
    )
    return [(row["currency"], row["balance_minor"], row["version"]) for row in found]


async def entries(bench: Workbench, tenant: str) -> list[tuple[str, int, int]]:
    found = await bench.rows(
        "SELECT * FROM customer_balance_entry WHERE tenant = $1 ORDER BY balance_id, ordinal", tenant
    )
    return [(row["kind"], row["amount_minor"], row["after_minor"]) for row in found]


async def standings(bench: Workbench, tenant: str) -> list[tuple[str, int, int, int]]:
    return [
        (row["status"], row["total_minor"], row["balance_applied_minor"], row["paid_minor"])
        for row in await bench.invoices(tenant)
    ]


async def ledger(bench: Workbench, tenant: str) -> dict[str, int]:
    found = await bench.rows(
        "SELECT account, sum(amount_minor)::bigint AS minor FROM ledger_entry WHERE tenant = $1 GROUP BY 1",
        tenant,
    )
    return {row["account"]: row["minor"] for row in found if row["minor"]}


async def told(bench: Workbench, tenant: str) -> list[Any]:
    contracts = {c.TYPE: c for c in (InvoiceFinalizedV1, InvoicePaidV1, CustomerBalanceChangedV1)}
    return [
        contracts[row["type"]].model_validate_json(row["data"])
        for row in await bench.told(tenant)
        if row["type"] in contracts
    ]


async def audit_is_clean(bench: Workbench) -> None:
    """But for what is due and what is not published yet, since nothing runs here."""
    report = await bench.audit()
    failing = {check.name: check.problems for check in report.checks if not check.ok}
    assert failing.keys() <= {"payments_are_not_overdue", "outbox_stale"}, failing


async def test_what_a_document_gives_the_next_ones_draw(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench
    await bench.add_seller(tenant)
    customer = a_customer()
    given = a_fee("-100", customer, tenant)
    await bench.hear(given.started())
    await bench.hear(a_fee("60", customer, tenant).started())
    await bench.hear(a_fee("60.01", customer, tenant).started())
    assert sorted(await standings(bench, tenant)) == [
        ("finalized", 6001, 4000, 0),
        ("paid", -10000, -10000, 0),
        ("paid", 6000, 6000, 0),
    ]
    assert await balances(bench, tenant) == [("USD", 0, 3)]
    assert await entries(bench, tenant) == [
        ("credit", 10000, 10000),
        ("applied", -6000, 4000),
        ("applied", -4000, 0),
    ]
    (attempt,) = await bench.attempts(tenant)
    assert (attempt["amount_minor"], attempt["state"]) == (2001, "pending")
    heard = await told(bench, tenant)
    assert [type(event).__name__ for event in heard] == [
        "CustomerBalanceChangedV1",
        "InvoiceFinalizedV1",
        "InvoicePaidV1",
        "CustomerBalanceChangedV1",
        "InvoiceFinalizedV1",
        "InvoicePaidV1",
        "CustomerBalanceChangedV1",
        "InvoiceFinalizedV1",
    ]
    changes = [event for event in heard if isinstance(event, CustomerBalanceChangedV1)]
    assert [(event.version, event.balance_minor) for event in changes] == [(1, 10000), (2, 4000), (3, 0)]
    assert {event.customer_id for event in changes} == {customer.customer_id}
    finalized, paid = heard[1:3]
    assert finalized.invoice == paid.invoice
    assert (finalized.invoice.total_minor, finalized.invoice.balance_applied_minor) == (-10000, -10000)
    assert (finalized.version, paid.version) == (2, 3)
    assert await ledger(bench, tenant) == {"accounts_receivable": 2001, "revenue": -2001}
    await bench.add_method(given)
    await bench.collect(clock=after(given.boundary(0), minutes=5))
    assert ("paid", 6001, 4000, 2001) in await standings(bench, tenant)
    assert (await ledger(bench, tenant))["cash"] == 2001
    await audit_is_clean(bench)


async def test_within_one_batch_it_is_as_one_by_one(own_bench: Workbench, tenant: str) -> None:
    """Two payers, whose documents come mixed, in one transaction: entries in their order, one event each."""
    bench = own_bench
    await bench.add_seller(tenant)
    one, two = a_customer(), a_customer()
    stories = [
        a_fee(amount, customer, tenant) for amount in ("-100", "30", "80", "-5") for customer in (one, two)
    ]
    await bench.hear(*[story.started() for story in stories])
    assert await balances(bench, tenant) == [("USD", 500, 4)] * 2
    one_by_one = [
        ("credit", 10000, 10000),
        ("applied", -3000, 7000),
        ("applied", -7000, 0),
        ("credit", 500, 500),
    ]
    assert await entries(bench, tenant) == one_by_one * 2
    assert [
        event.balance_minor for event in await told(bench, tenant) if hasattr(event, "balance_minor")
    ] == [after for _, _, after in one_by_one for _ in (one, two)]
    await audit_is_clean(bench)


async def test_two_that_draw_at_once_do_not_draw_the_same(own_bench: Workbench, tenant: str) -> None:
    """Twenty invoices of 60 in four workers, and 500 to draw on: 8 are paid whole, one in part."""
    bench = own_bench
    await bench.add_seller(tenant)
    customer = a_customer()
    await bench.hear(a_fee("-500", customer, tenant).started())
    stories = [a_fee("60", customer, tenant) for _ in range(20)]
    batches = [stories[index::4] for index in range(4)]
    await asyncio.gather(*[bench.hear(*[story.started() for story in batch]) for batch in batches])
    applied = sorted(row["balance_applied_minor"] for row in await bench.invoices(tenant))
    assert applied == [-50000, *[0] * 11, 2000, *[6000] * 8]
    assert (await balances(bench, tenant))[0][:2] == ("USD", 0)
    await audit_is_clean(bench)


async def test_two_that_give_the_first_at_once_both_count(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench
    await bench.add_seller(tenant)
    customers = [a_customer() for _ in range(5)]
    batches = [
        [a_fee("-1", customer, tenant).started() for customer in order]
        for order in (customers, customers[::-1], customers, customers[::-1])
    ]
    await asyncio.gather(*[bench.hear(*batch) for batch in batches])
    assert await balances(bench, tenant) == [("USD", 400, 4)] * 5
    await audit_is_clean(bench)


async def test_batches_and_hands_at_once_get_through(own_bench: Workbench, tenant: str) -> None:
    """Batches in all orders of their payers, and goodwill beside them: nobody is lost, and nothing is lost."""
    bench = own_bench
    await bench.add_seller(tenant)
    known = [a_fee("7", a_customer(), tenant) for _ in range(6)]
    for story in known:
        await bench.know_customer(story)
    amounts = ("-10", "4", "-3", "9")
    batches = [
        [a_fee(amounts[turn], story.customer, tenant).started() for story in known[turn:] + known[:turn]]
        for turn in range(4)
    ]
    await asyncio.gather(
        *[bench.hear(*batch) for batch in batches], *[adjust(bench, story, 100) for story in known * 2]
    )
    rows = await bench.rows("SELECT * FROM customer_balance WHERE tenant = $1", tenant)
    documents = await bench.invoices(tenant)
    applied = sum(row["balance_applied_minor"] for row in documents)
    assert (len(rows), len(documents)) == (6, 24)
    assert sum(row["balance_minor"] for row in rows) == 6 * 2 * 100 - applied
    await audit_is_clean(bench)


async def test_who_pays_is_drawn_on_and_not_who_uses(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    child, parent = a_customer(), a_customer(name="Holding", payment_terms_days=30)
    await bench.hear(a_fee("-10", parent, tenant).started(), a_fee("-20", child, tenant).started())
    await bench.hear(a_fee("25", child, tenant, payer=parent).started())
    (row,) = [row for row in await bench.invoices(tenant) if row["total_minor"] == 2500]
    assert (row["customer_id"], row["balance_applied_minor"]) == (parent.customer_id, 1000)
    assert (row["due_on"] - row["issued_at"].date()).days == 30
    assert [minor for _, minor, _ in await balances(bench, tenant)] in ([0, 2000], [2000, 0])


async def test_each_currency_has_a_balance(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = a_fee("25", a_customer(), tenant)
    await bench.know_customer(story)
    await adjust(bench, story, 1000, "EUR")
    await bench.hear(story.started())
    assert await standings(bench, tenant) == [("finalized", 2500, 0, 0)]
    assert await balances(bench, tenant) == [("EUR", 1000, 1)]


async def test_goodwill_is_given_and_taken_back_but_never_more(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench
    story = a_fee("25", a_customer(), tenant)
    await bench.know_customer(story)
    await adjust(bench, story, 1000)
    await adjust(bench, story, -400)
    with pytest.raises(BalanceTooSmall):
        await adjust(bench, story, -601)
    assert await entries(bench, tenant) == [("adjustment", 1000, 1000), ("adjustment", -400, 600)]
    assert await ledger(bench, tenant) == {"customer_credit": -600, "goodwill": 600}
    await audit_is_clean(bench)


async def test_taking_back_at_once_does_not_go_below_zero(bench: Workbench, tenant: str) -> None:
    story = a_fee("25", a_customer(), tenant)
    await bench.know_customer(story)
    await adjust(bench, story, 1000)
    outcomes = await asyncio.gather(*[adjust(bench, story, -600) for _ in range(4)], return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "BalanceEntry",
        *["BalanceTooSmall"] * 3,
    ]
    assert await balances(bench, tenant) == [("USD", 400, 2)]


async def test_credits_that_equal_the_charges_stand_on_a_document(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = a_fee("25", a_customer(), tenant)
    back = FEE.model_copy(update={"id": "prc_back", "code": "back", "unit_amount": Decimal(-25)})
    story.items.append(story.items[0].model_copy(update={"item_id": story.minutes_item, "price": back}))
    await bench.hear(story.started())
    (row,) = await bench.invoices(tenant)
    assert (row["status"], row["number"], row["total_minor"]) == ("paid", "INV-000001", 0)
    assert [net for _, net in await bench.lines(tenant)] == [2500, -2500]
    assert (await bench.attempts(tenant), await balances(bench, tenant)) == ([], [])


async def test_drafts_that_waited_for_a_seller_draw_when_there_is_one(bench: Workbench, tenant: str) -> None:
    customer = a_customer()
    stories = [a_fee("25", customer, tenant), a_fee("-40", customer, tenant)]
    await bench.hear(*[story.started() for story in stories])
    assert {status for status, *_ in await standings(bench, tenant)} == {"draft"}
    await bench.add_seller(tenant)
    await bench.jobs(clock=after(stories[0].boundary(0), days=1))[0].run_once()
    assert {status for status, *_ in await standings(bench, tenant)} <= {"paid", "finalized"}
    assert (
        sum(amount for _, amount, _ in await entries(bench, tenant)) == (await balances(bench, tenant))[0][1]
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE customer_balance SET balance_minor = -1",
        "INSERT INTO customer_balance_entry (tenant, id, balance_id, ordinal, customer_id, kind, amount_minor, "
        "after_minor, currency, occurred_at, actor) SELECT tenant, 'x', id, 9, customer_id, 'applied', -9, -9, "
        "currency, created_at, 'me' FROM customer_balance",
    ],
)
async def test_the_database_keeps_balances_from_going_below_zero(
    bench: Workbench, tenant: str, statement: str
) -> None:
    story = a_fee("25", a_customer(), tenant)
    await bench.know_customer(story)
    await adjust(bench, story, 100)
    async with bench.admin() as admin:
        with pytest.raises(asyncpg.CheckViolationError):
            await admin.execute(statement)


async def test_an_erased_customer_is_forgotten_but_on_invoices(bench: Workbench, tenant: str) -> None:
    """Agreements forget as well, also where an older event comes later; what was issued stays."""
    await bench.add_seller(tenant)
    story = a_fee("25", a_customer(email="jo@example.com", vat_id="NL000099998B57"), tenant)
    await bench.hear(story.started())
    gone = CustomerV1(
        customer_id=story.customer.customer_id, customer_version=2, name="erased", is_erased=True
    )
    await bench.hear(CustomerChangedV1(tenant=tenant, occurred_at=story.boundary(0), customer=gone))
    await bench.hear(story.changed(9))
    (known,) = await bench.rows("SELECT * FROM customer WHERE tenant = $1", tenant)
    (agreed,) = await bench.rows("SELECT * FROM agreement WHERE tenant = $1", tenant)
    (invoice,) = await bench.invoices(tenant)
    assert (known["name"], known["email"], known["vat_id"], known["is_erased"]) == (
        "erased",
        None,
        None,
        True,
    )
    assert agreed["version"] == 9
    assert "jo@example.com" not in agreed["snapshot"]
    assert "jo@example.com" in invoice["customer"]


def usd(amount: str) -> Mapping[str, str]:
    return {"amount": amount, "currency": "USD"}


async def test_balances_over_http(billing: ServiceUnderTest, bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = a_fee("25", a_customer(), tenant)
    customer_id = story.customer.customer_id
    await bench.know_customer(story)
    body = {"customer_id": customer_id, "amount": usd("40.00"), "reason": " late delivery "}
    path = "/v1/customer-balances"
    async with billing.client(tenant, *BOTH) as client:
        without_key = await client.post(f"{path}/adjustments", json=body)
        first = await client.post(f"{path}/adjustments", json=body, headers={"idempotency-key": "1"})
        again = await client.post(f"{path}/adjustments", json=body, headers={"idempotency-key": "1"})
        await bench.hear(story.started())
        (balance,) = (await client.get(path, params={"customer_id": customer_id})).json()["data"]
        shown = await client.get(f"{path}/{balance['id']}")
        told_of = (await client.get(f"{path}/{balance['id']}/entries", params={"limit": 1})).json()
        rest = await client.get(
            f"{path}/{balance['id']}/entries", params={"limit": 1, "cursor": told_of["next_cursor"]}
        )
        others = (await client.get(path, params={"currency": "EUR"})).json()["data"]
        by_hand = (await client.get(f"{path}/adjustments", params={"customer_id": customer_id})).json()[
            "data"
        ]
        unknown = await client.get(f"{path}/bal_1")
        not_allowed = await client.delete(f"{path}/adjustments")
        (invoice,) = (await client.get("/v1/invoices", params={"document_kind": "invoice"})).json()["data"]
        none = (await client.get("/v1/invoices", params={"document_kind": "credit"})).json()["data"]
        too_much = await client.post(
            f"{path}/adjustments",
            json={**body, "amount": usd("-15.01")},
            headers={"idempotency-key": "2"},
        )
        stale = await client.post(
            f"{path}/adjustments",
            json={**body, "amount": usd("-15.00")},
            headers={"idempotency-key": "3", "if-match": '"1"'},
        )
        nothing = await client.post(
            f"{path}/adjustments", json={**body, "amount": usd("0.00")}, headers={"idempotency-key": "4"}
        )
    assert without_key.status_code == 400
    assert (first.status_code, again.content) == (201, first.content)
    assert first.headers["location"] == f"{path}/{balance['id']}"
    assert (first.json()["reason"], first.json()["balance_after"]) == ("late delivery", usd("40.00"))
    assert (balance["balance"], balance["version"]) == (usd("15.00"), 2)
    assert (shown.json(), shown.headers["etag"]) == (balance, '"2"')
    listed = [*told_of["data"], *rest.json()["data"]]
    assert [(e["kind"], e["amount"]["amount"], e["invoice_id"]) for e in listed] == [
        ("adjustment", "40.00", None),
        ("applied", "-25.00", invoice["id"]),
    ]
    assert (others, none) == ([], [])
    assert by_hand == [listed[0]] == [first.json()]
    assert (unknown.status_code, not_allowed.status_code) == (404, 405)
    assert (invoice["document_kind"], invoice["balance_applied"], invoice["due"]) == (
        "invoice",
        usd("25.00"),
        usd("0.00"),
    )
    assert (too_much.status_code, too_much.json()["code"]) == (422, "balance_too_small")
    assert stale.status_code == 412
    assert (nothing.status_code, nothing.json()["errors"][0]["pointer"]) == (422, "/amount")


async def test_a_balance_is_shown_to_its_customer_and_to_nobody_else(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story, other = (a_fee("25", a_customer(), tenant) for _ in range(2))
    for each in (story, other):
        await bench.know_customer(each)
        await adjust(bench, each, 100)
    me = story.customer.customer_id
    async with billing.client(tenant, "billing:read") as client:
        theirs = {
            row["customer_id"]: row["id"]
            for row in (await client.get("/v1/customer-balances")).json()["data"]
        }
    async with billing.client(tenant, *BOTH, customer=me) as portal:
        mine = (await portal.get("/v1/customer-balances")).json()["data"]
        asked = await portal.get("/v1/customer-balances", params={"customer_id": other.customer.customer_id})
        foreign = [
            await portal.get(f"/v1/customer-balances/{theirs[other.customer.customer_id]}{part}")
            for part in ("", "/entries")
        ]
        own = await portal.get(f"/v1/customer-balances/{theirs[me]}/entries")
    async with billing.client(new_tenant(), *BOTH) as stranger:
        foreign.append(await stranger.get(f"/v1/customer-balances/{theirs[me]}"))
    assert ([row["customer_id"] for row in mine], asked.json()["data"]) == ([me], [])
    assert [answer.status_code for answer in foreign] == [404] * 3
    assert own.status_code == 200

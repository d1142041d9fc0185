"""Credit notes over HTTP: in full, by line, by amount; where they go; and never beyond what was billed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from libs.common.ids import new_id
from tests.integration.billing.crediting import (
    BOTH,
    a_customer,
    an_invoice,
    balances,
    eur,
    get,
    listed,
    post,
    told,
)
from tests.integration.billing.test_changes import changed, segment, terms
from tests.integration.billing.test_schema import as_app
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.service_under_test import ServiceUnderTest


async def test_notes_by_line_and_amount_add_up_to_the_invoice(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("10", "9.00"), ("1", "120.00"))
        assert (invoice["net"], invoice["tax"], invoice["total"]) == (
            eur("210.00"),
            eur("44.10"),
            eur("254.10"),
        )
        (desks, delivery) = invoice["lines"]
        wanted = {
            "invoice_id": invoice["id"],
            "reason": "Two desks were never delivered",
            "lines": [{"line_id": desks["id"], "amount": eur("18.00")}],
        }
        preview = await post(client, "/v1/credit-note-previews", wanted, expecting=200)
        first = await post(client, "/v1/credit-notes", wanted)
        second = await post(
            client,
            "/v1/credit-notes",
            {"invoice_id": invoice["id"], "reason": "Goodwill", "amount": eur("50.00")},
        )
        third = await post(client, "/v1/credit-notes", {"invoice_id": invoice["id"], "reason": "All of it"})
        after = await get(client, f"/v1/invoices/{invoice['id']}")
        notes = await listed(client, "/v1/credit-notes", invoice_id=invoice["id"])
        again = await get(client, f"/v1/credit-notes/{first['id']}")
        refused = await post(
            client,
            "/v1/credit-notes",
            {"invoice_id": invoice["id"], "reason": "Once more", "lines": [{"line_id": delivery["id"]}]},
            expecting=422,
        )
    assert (first["net"], first["tax"], first["total"]) == (eur("18.00"), eur("3.78"), eur("21.78"))
    assert (preview["total"], preview["to_invoice"], preview["taxes"]) == (
        first["total"],
        first["total"],
        first["taxes"],
    )
    assert (first["number"], second["number"], third["number"]) == ("CN-000001", "CN-000002", "CN-000003")
    assert first["preceding_invoice"] == {"id": invoice["id"], "number": invoice["number"]}
    assert first["type_code"] == "381"
    assert [(line["quantity"], line["unit_amount"], line["net"]) for line in first["lines"]] == [
        ("1", "18", eur("18.00"))
    ]
    assert second["total"] == eur("50.00")
    for part in ("net", "tax", "total"):
        credited = sum(Decimal(note[part]["amount"]) for note in (first, second, third))
        assert credited == Decimal(invoice[part]["amount"]), part
    assert (after["status"], after["due"], after["credited"]) == ("paid", eur("0.00"), eur("254.10"))
    assert [note["id"] for note in notes] == [first["id"], second["id"], third["id"]]
    assert again == first
    assert refused["code"] == "nothing_to_credit"
    assert await balances(bench, tenant) == {}
    assert (await told(bench, tenant)).count("credit_note.issued.v1") == 3
    assert (await told(bench, tenant))[-2:] == ["invoice.paid.v1", "credit_note.issued.v1"]
    (attempt,) = await bench.attempts(tenant)
    assert (attempt["state"], attempt["reason"], attempt["due_at"]) == ("canceled", "credited", None)


async def test_what_was_paid_goes_to_the_balance_or_back(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        await bench.collect()
        to_balance = {"invoice_id": invoice["id"], "reason": "Late", "amount": eur("21.00")}
        first = await post(client, "/v1/credit-notes", to_balance)
        too_much = {
            **to_balance,
            "amount": eur("100.00"),
            "split": {"to_invoice": eur("0.00"), "to_balance": eur("0.00"), "to_refund": eur("121.00")},
        }
        wrong_sum = await post(client, "/v1/credit-notes", too_much, expecting=422)
        split = {"to_invoice": eur("0.00"), "to_balance": eur("40.00"), "to_refund": eur("60.00")}
        second = await post(client, "/v1/credit-notes", {**too_much, "split": split})
        (refund,) = await listed(client, "/v1/refunds", invoice_id=invoice["id"])
        shown = await get(client, f"/v1/refunds/{refund['id']}")
        (balance,) = await listed(client, "/v1/customer-balances")
        entries = await listed(client, f"/v1/customer-balances/{balance['id']}/entries")
        nothing_left = await post(client, "/v1/credit-notes", to_balance, expecting=422)
    assert (first["to_balance"], first["to_refund"]) == (eur("21.00"), eur("0.00"))
    assert wrong_sum["code"] == "credit_split_wrong"
    assert (second["to_balance"], second["to_refund"]) == (eur("40.00"), eur("60.00"))
    assert (refund["amount"], refund["state"], refund["credit_note_id"]) == (
        eur("60.00"),
        "pending",
        second["id"],
    )
    assert shown == refund
    assert balance["balance"] == eur("61.00")
    assert [entry["kind"] for entry in entries] == ["credit_note", "credit_note"]
    assert nothing_left["code"] == "credit_beyond_billed"
    assert await balances(bench, tenant) == {
        "cash": 12100,
        "customer_credit": -6100,
        "refunds_payable": -6000,
    }


async def test_a_refund_is_never_more_than_was_paid_with_money(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        given = {"customer_id": story.customer.customer_id, "amount": eur("50.00"), "reason": "Goodwill"}
        await post(client, "/v1/customer-balances/adjustments", given)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        await bench.collect()
        everything = {"invoice_id": invoice["id"], "reason": "Withdrawn", "rest_to": "refund"}
        note = await post(client, "/v1/credit-notes", everything)
    assert (invoice["balance_applied"], note["total"]) == (eur("50.00"), eur("121.00"))
    assert (note["to_refund"], note["to_balance"]) == (eur("71.00"), eur("50.00"))


async def test_a_credit_while_the_gateway_is_asked_leaves_the_rest_on_the_balance(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """The gateway is called for 121.00; meanwhile 50.00 are credited: what came beyond what is due is owed back."""
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        invoice = await an_invoice(client, story, ("1", "100.00"))

        class CreditsMeanwhile:
            async def collect(self, **asked: object) -> object:
                wanted = {"invoice_id": invoice["id"], "reason": "Meanwhile", "amount": eur("50.00")}
                await post(client, "/v1/credit-notes", wanted)
                return await bench.gateway.collect(**asked)  # type: ignore[arg-type]

            async def find_outcome(self, **asked: object) -> object:
                return await bench.gateway.find_outcome(**asked)  # type: ignore[arg-type]

        await bench.collect(gateways={"sandbox": CreditsMeanwhile()})  # type: ignore[dict-item]
        after = await get(client, f"/v1/invoices/{invoice['id']}")
        (balance,) = await listed(client, "/v1/customer-balances")
    assert (after["status"], after["paid"], after["credited"]) == ("paid", eur("71.00"), eur("50.00"))
    assert balance["balance"] == eur("50.00")
    assert (await balances(bench, tenant))["cash"] == 12100


async def test_a_credit_before_the_gateway_is_asked_lessens_what_it_is_asked_for(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        await post(
            client,
            "/v1/credit-notes",
            {"invoice_id": invoice["id"], "reason": "Late", "amount": eur("50.00")},
        )
        await bench.collect()
        after = await get(client, f"/v1/invoices/{invoice['id']}")
    assert (after["status"], after["paid"]) == ("paid", eur("71.00"))
    assert [row["amount_minor"] for row in await bench.attempts(tenant)] == [7100]


async def test_workers_at_once_never_credit_beyond_what_was_billed(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("1", "100.00"), ("1", "50.00"))
        wanted = {"invoice_id": invoice["id"], "reason": "Race", "amount": eur("40.00")}
        answers = await asyncio.gather(
            *[
                client.post("/v1/credit-notes", json=wanted, headers={"idempotency-key": new_id("key")})
                for _ in range(8)
            ]
        )
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [422] * 4
    notes = await bench.rows("SELECT number FROM credit_note WHERE tenant = $1 ORDER BY number", tenant)
    assert [note["number"] for note in notes] == [f"CN-{ordinal:06d}" for ordinal in range(1, 5)]


@pytest.mark.parametrize(
    ("line_minor", "total_minor", "allowed"),
    [(5000, 5000, True), (10000, 10000, True), (10001, 10001, False), (5000, 12101, False)],
    ids=["a part", "all of the line", "beyond the line", "beyond the invoice"],
)
async def test_the_database_refuses_a_credit_beyond_what_was_billed(
    billing: ServiceUnderTest,
    bench: Workbench,
    tenant: str,
    line_minor: int,
    total_minor: int,
    allowed: bool,
) -> None:
    """Whoever forgets to ask the domain is stopped by a trigger."""
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("1", "100.00"))
    note = """INSERT INTO credit_note (tenant, id, invoice_id, invoice_number, customer_id, customer, seller_id,
                  seller, series, number, currency, zone, reason, net_minor, tax_minor, total_minor,
                  to_invoice_minor, to_balance_minor, to_refund_minor, taxes, issued_at, issued_on, created_at)
              SELECT tenant, 'crn_x', id, number, customer_id, customer, seller_id, seller, series, 'X', currency,
                  zone, 'x', $2::bigint, $3::bigint - $2::bigint, $3::bigint, $3::bigint, 0, 0, '[]', now(),
                  current_date, now()
              FROM invoice WHERE id = $1"""
    line = """INSERT INTO credit_note_line (tenant, id, credit_note_id, invoice_line_id, ordinal, description,
                  quantity, unit_amount, amount_minor, paid_minor, net_minor, currency, tax_category, tax_percent,
                  tax_behavior, service_start_on, service_end_on)
              SELECT tenant, 'crl_x', 'crn_x', id, 1, 'x', 1, 1, $2::bigint, $2::bigint, $2::bigint, currency, 'S',
                  21, 'exclusive', service_start_on, service_end_on FROM invoice_line WHERE invoice_id = $1"""
    async with as_app(bench, tenant) as app:
        await app.execute(note, invoice["id"], line_minor, total_minor)
        if allowed:
            await app.execute(line, invoice["id"], line_minor)
        else:
            with pytest.raises(asyncpg.CheckViolationError, match="exceeds what was billed"):
                await app.execute(line, invoice["id"], line_minor)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit_note SET total_minor = 1",
        "DELETE FROM credit_note",
        "UPDATE credit_note_line SET net_minor = 1",
        "DELETE FROM credit_note_line",
        "DELETE FROM refund",
        "DELETE FROM deposit",
    ],
)
async def test_what_was_credited_stands(bench: Workbench, tenant: str, statement: str) -> None:
    async with as_app(bench, tenant) as app:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


REFUSED = [
    ("a draft", {"finalize": False}, {}, 409, "invoice_not_creditable"),
    ("another currency", {}, {"amount": {"amount": "1.00", "currency": "USD"}}, 422, "currency_mismatch"),
    ("nothing", {}, {"amount": eur("0.00")}, 422, "invalid_body"),
    ("an unknown line", {}, {"lines": [{"line_id": "lin_" + "0" * 26}]}, 422, "no_such_line"),
    ("beyond", {}, {"amount": eur("121.01")}, 422, "credit_beyond_billed"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
async def test_refused_over_http(
    billing: ServiceUnderTest,
    bench: Workbench,
    tenant: str,
    case: tuple[str, dict[str, object], dict[str, object], int, str],
) -> None:
    _, invoice_says, note_says, status, code = case
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("1", "100.00"), **invoice_says)
        wanted = {"invoice_id": invoice["id"], "reason": "No", **note_says}
        for path in ("/v1/credit-notes", "/v1/credit-note-previews"):
            answer = await post(client, path, wanted, expecting=status)
            assert answer["code"] == code


async def test_a_note_is_made_once_for_each_key_and_for_the_version_that_was_seen(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        wanted = {"invoice_id": invoice["id"], "reason": "Late", "amount": eur("10.00")}
        seen = {"if-match": f'"{invoice["version"]}"'}
        first = await post(client, "/v1/credit-notes", wanted, key="one", **seen)
        again = await post(client, "/v1/credit-notes", wanted, key="one", **seen)
        stale = await post(client, "/v1/credit-notes", wanted, expecting=412, **seen)
    assert again == first
    assert stale["code"] == "version_changed"
    assert len(await bench.rows("SELECT FROM credit_note WHERE tenant = $1", tenant)) == 1


@pytest.mark.parametrize(("credited", "total"), [(None, 0), ("1200.00", -81290), ("0", -162581)])
async def test_what_a_note_gave_back_is_not_given_back_again(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, credited: str | None, total: int
) -> None:
    """Two aircraft of January are 2400.00; after ten days they go: 21 days of 31 are given back, less what a note did."""
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.hear(story.started())
    (invoice,) = await bench.invoices(tenant)
    amount = {} if credited is None else {"amount": {"amount": credited, "currency": "USD"}}
    async with billing.client(tenant, *BOTH) as client:
        if credited != "0":
            body = {"invoice_id": invoice["id"], "reason": "Unhappy", **amount}
            await post(client, "/v1/credit-notes", body)
    ten_days = terms(story, 0, segment(story, story.period(0), "2", days=(0, 10)))
    at = story.boundary(0) + timedelta(days=10)
    await bench.hear(changed(story, 2, ten_days, settles_at=at))
    (_, change) = await bench.invoices(tenant)
    assert (change["document_kind"], change["total_minor"]) == ("change", total)

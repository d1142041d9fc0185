"""Invoices that are voided, issued again or given up, over HTTP."""

from __future__ import annotations

from services.billing.adapters.credit_note_audit import CREDIT_NOTE_CHECKS
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
from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import Story
from tests.support.service_under_test import ServiceUnderTest

VOID = {"reason": "Sent to the wrong address"}


async def test_a_void_frees_its_charges_for_the_next_document(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.hear(story.started())
    (first,) = await bench.invoices(tenant)
    async with billing.client(tenant, *BOTH) as client:
        shown = await get(client, f"/v1/invoices/{first['id']}")
        void = await post(client, f"/v1/invoices/{first['id']}/voids", VOID)
        explained = await get(client, shown["lines"][0]["explanation"])
        twice = await post(client, f"/v1/invoices/{first['id']}/voids", VOID, expecting=409)
        credited = {"invoice_id": first["id"], "reason": "No"}
        no_note = await post(client, "/v1/credit-notes", credited, expecting=409)
        assert await balances(bench, tenant) == {}
        await bench.hear(story.renewed(1))
        late = await post(client, f"/v1/invoices/{first['id']}/reissues", {}, expecting=409)
    assert (void["status"], void["number"], void["lines"]) == ("void", "INV-000001", shown["lines"])
    assert explained["agrees"] is True
    assert (twice["code"], no_note["code"]) == ("invoice_not_voidable", "invoice_not_creditable")
    assert late["code"] == "invoice_not_reissuable"
    (_, second) = await bench.invoices(tenant)
    assert (second["number"], second["total_minor"]) == ("INV-000002", 480000)
    (attempt, _) = await bench.attempts(tenant)
    assert (attempt["state"], attempt["reason"]) == ("canceled", "voided")
    assert (await told(bench, tenant)).count("invoice.voided.v1") == 1


async def test_a_void_invoice_is_issued_again_and_again(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.hear(story.started())
    (first,) = await bench.invoices(tenant)
    async with billing.client(tenant, *BOTH) as client:
        not_void = await post(client, f"/v1/invoices/{first['id']}/reissues", {}, expecting=409)
        await post(client, f"/v1/invoices/{first['id']}/voids", VOID)
        draft = await post(client, f"/v1/invoices/{first['id']}/reissues", {})
        surcharge = {"description": "Delivery", "unit_amount": "10.00"}
        await post(client, f"/v1/invoices/{draft['id']}/manual-lines", surcharge)
        second = await post(client, f"/v1/invoices/{draft['id']}/finalizations", {})
        once = await post(client, f"/v1/invoices/{first['id']}/reissues", {}, expecting=409)
        await post(client, f"/v1/invoices/{second['id']}/voids", VOID)
        third = await post(client, f"/v1/invoices/{second['id']}/reissues", {"finalize": True})
    assert (not_void["code"], once["code"]) == ("invoice_not_reissuable", "invoice_not_reissuable")
    assert (draft["status"], draft["replaces_id"], draft["total"]["amount"]) == (
        "draft",
        first["id"],
        "2400.00",
    )
    assert (second["status"], second["number"], second["total"]["amount"]) == (
        "finalized",
        "INV-000002",
        "2410.00",
    )
    assert (third["number"], third["replaces_id"], third["total"]) == (
        "INV-000003",
        second["id"],
        second["total"],
    )
    assert len({first["id"], second["id"], third["id"]}) == 3
    assert sum((await balances(bench, tenant)).values()) == 0
    assert (await balances(bench, tenant))["accounts_receivable"] == 241000


async def test_a_void_gives_back_what_the_balance_paid(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        given = {"customer_id": story.customer.customer_id, "amount": eur("200.00"), "reason": "Goodwill"}
        await post(client, "/v1/customer-balances/adjustments", given)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        void = await post(client, f"/v1/invoices/{invoice['id']}/voids", VOID)
        (balance,) = await listed(client, "/v1/customer-balances")
        entries = await listed(client, f"/v1/customer-balances/{balance['id']}/entries")
        again = await post(client, f"/v1/invoices/{invoice['id']}/reissues", {"finalize": True})
    assert (invoice["status"], void["status"]) == ("paid", "void")
    assert balance["balance"] == eur("200.00")
    assert [entry["kind"] for entry in entries] == ["adjustment", "applied", "given_back"]
    assert (again["status"], again["balance_applied"]) == ("paid", eur("121.00"))


async def test_what_was_paid_or_credited_is_not_voided(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        credited = await an_invoice(client, story, ("1", "100.00"))
        await post(
            client,
            "/v1/credit-notes",
            {"invoice_id": credited["id"], "reason": "Late", "amount": eur("1.00")},
        )
        refused = [await post(client, f"/v1/invoices/{credited['id']}/voids", VOID, expecting=409)]
        await bench.add_method(story)
        paid = await an_invoice(client, story, ("1", "100.00"))
        await bench.collect()
        refused.append(await post(client, f"/v1/invoices/{paid['id']}/voids", VOID, expecting=409))
        draft = await an_invoice(client, story, ("1", "100.00"), finalize=False)
        refused.append(await post(client, f"/v1/invoices/{draft['id']}/voids", VOID, expecting=409))
    assert [answer["code"] for answer in refused] == ["invoice_not_voidable"] * 3
    assert "POST /v1/credit-notes" in refused[0]["remedy"]


async def test_nothing_is_voided_while_the_gateway_is_asked(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        await bench.add_method(story)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        answers: list[str] = []

        class VoidsMeanwhile:
            async def collect(self, **asked: object) -> object:
                for path, body in (("voids", VOID), ("write-offs", VOID)):
                    refused = await post(client, f"/v1/invoices/{invoice['id']}/{path}", body, expecting=409)
                    answers.append(refused["code"])
                return await bench.gateway.collect(**asked)  # type: ignore[arg-type]

            async def find_outcome(self, **asked: object) -> object:
                return await bench.gateway.find_outcome(**asked)  # type: ignore[arg-type]

        await bench.collect(gateways={"sandbox": VoidsMeanwhile()})  # type: ignore[dict-item]
        after_it = await get(client, f"/v1/invoices/{invoice['id']}")
    assert answers == ["payment_under_way"] * 2
    assert after_it["status"] == "paid"


async def test_what_nobody_expects_to_be_paid_is_a_bad_debt(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("1", "100.00"))
        await post(
            client,
            "/v1/credit-notes",
            {"invoice_id": invoice["id"], "reason": "Late", "amount": eur("21.00")},
        )
        given_up = await post(client, f"/v1/invoices/{invoice['id']}/write-offs", {"reason": "Insolvent"})
        refused = [
            await post(client, f"/v1/invoices/{invoice['id']}/{path}", body, expecting=409)
            for path, body in (("write-offs", VOID), ("voids", VOID), ("payment-attempts", {}))
        ]
    assert (given_up["status"], given_up["due"]) == ("uncollectible", eur("100.00"))
    assert [answer["code"] for answer in refused] == [
        "invoice_not_uncollectible",
        "invoice_not_voidable",
        "invoice_not_payable",
    ]
    after_it = await balances(bench, tenant)
    assert (after_it["bad_debt"], after_it.get("accounts_receivable", 0)) == (10000, 0)
    assert (await told(bench, tenant))[-1] == "invoice.marked_uncollectible.v1"
    assert await bench.collect(clock=after(bench.clock.system_now(), days=400)) == 0


async def test_refund_void_adjust_then_invoice_and_nothing_is_stuck(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """Refund one month, void the next, adjust the balance: the month after bills what is owed, and all is told."""
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.hear(story.started())
    await bench.add_method(story)
    await bench.collect(clock=after(story.boundary(0), hours=1))
    async with billing.client(tenant, *BOTH) as client:
        (first,) = await bench.invoices(tenant)
        refund = {"invoice_id": first["id"], "reason": "Unhappy", "rest_to": "refund"}
        note = await post(client, "/v1/credit-notes", refund)
        await bench.hear(story.renewed(1))
        (_, second) = await bench.invoices(tenant)
        await post(client, f"/v1/invoices/{second['id']}/voids", VOID)
        adjusted = {
            "customer_id": story.customer.customer_id,
            "amount": {"amount": "100.00", "currency": "USD"},
            "reason": "Goodwill",
        }
        await post(client, "/v1/customer-balances/adjustments", adjusted)
        await bench.hear(story.renewed(2))
        await bench.collect(clock=after(story.boundary(2), hours=1))
        owed = await balances(bench, tenant)
        await bench.run_job("give_refunds")
        (_, _, third) = await bench.invoices(tenant)
        shown = await get(client, f"/v1/invoices/{third['id']}")
        refunds = await listed(client, "/v1/refunds")
    assert [(refund["amount"]["amount"], refund["state"]) for refund in refunds] == [("2400.00", "succeeded")]
    assert (note["to_refund"]["amount"], owed["refunds_payable"]) == ("2400.00", -240000)
    assert [line["service_period"]["start"] for line in shown["lines"]] == ["2025-02-01", "2025-03-01"]
    assert (shown["status"], shown["total"]["amount"], shown["paid"]["amount"]) == (
        "paid",
        "4800.00",
        "4700.00",
    )
    waiting = await bench.rows("SELECT FROM charge WHERE tenant = $1 AND invoice_id IS NULL", tenant)
    drafts = await bench.rows("SELECT FROM invoice WHERE tenant = $1 AND status = 'draft'", tenant)
    assert (waiting, drafts) == ([], [])
    books = await balances(bench, tenant)
    assert books["cash"] == 470000
    assert "refunds_payable" not in books
    (given,) = await bench.rows(
        "SELECT amount_minor FROM sandbox_gateway_refund WHERE idempotency_key = $1", refunds[0]["id"]
    )
    assert given["amount_minor"] == 240000
    assert "accounts_receivable" not in books


async def test_what_a_void_frees_after_the_end_waits_for_a_person_and_the_audit_says_so(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.hear(story.started(), story.ended(1))
    (invoice, *_) = await bench.invoices(tenant)
    async with billing.client(tenant, *BOTH) as client:
        await post(client, f"/v1/invoices/{invoice['id']}/voids", VOID)
        assert any(story.subscription_id in problem for problem in await waiting_charges(bench))
        await post(client, f"/v1/invoices/{invoice['id']}/reissues", {"finalize": True})
        assert not any(story.subscription_id in problem for problem in await waiting_charges(bench))


async def waiting_charges(bench: Workbench) -> list[str]:
    """What the audit says of charges that no document will bill."""
    problems, _ = CREDIT_NOTE_CHECKS["freed_charges_have_a_document_ahead"]
    return [str(row) for row in await bench.rows(problems)]

"""What the audit says of credit notes, refunds, deposits and voids: nothing while all is right, then what is wrong."""

from __future__ import annotations

import httpx

from services.billing.adapters.audit_refunds import REFUND_CHECKS
from services.billing.adapters.credit_note_audit import CREDIT_NOTE_CHECKS
from tests.integration.billing.crediting import BOTH, Thing, a_customer, an_invoice, eur, listed, post
from tests.integration.billing.test_disputes import payment_of
from tests.integration.billing.test_refunds import transfer
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.service_under_test import ServiceUnderTest, new_tenant

# What is done to the tables, and the check that must notice it.
TAMPERED = [
    ("UPDATE credit_note_line SET net_minor = net_minor + 100000", "credits_are_within_billed"),
    (
        "UPDATE credit_note SET total_minor = total_minor + 100000, net_minor = net_minor + 100000, "
        "to_balance_minor = to_balance_minor + 100000",
        "credits_are_within_billed",
    ),
    ("UPDATE credit_note_line SET net_minor = net_minor - 1", "credit_notes_are_their_lines"),
    ("UPDATE credit_note SET taxes = '[]'", "credit_notes_are_their_lines"),
    (
        "UPDATE invoice SET credited_minor = credited_minor - 1 WHERE credited_minor > 0",
        "credits_reach_where_they_go",
    ),
    ("DELETE FROM refund WHERE credit_note_id IS NOT NULL", "credits_reach_where_they_go"),
    ("DELETE FROM customer_balance_entry WHERE kind = 'credit_note'", "credits_reach_where_they_go"),
    ("UPDATE refund SET amount_minor = amount_minor + 100000", "refunds_are_within_payments"),
    ("DELETE FROM ledger_entry WHERE posting_key LIKE 'credit_note:%'", "ledger_has_each_credit_note"),
    ("DELETE FROM credit_note", "ledger_has_each_credit_note"),
    (
        "UPDATE deposit SET applied_minor = applied_minor - 1 WHERE applied_minor > 0",
        "deposits_are_their_postings",
    ),
    ("DELETE FROM refund WHERE deposit_id IS NOT NULL", "deposits_are_their_postings"),
    ("DELETE FROM ledger_entry WHERE posting_key LIKE '%:voided%'", "voided_invoices_hold_nothing"),
    (
        "UPDATE refund SET amount_minor = amount_minor + 45000 WHERE deposit_id IS NOT NULL",
        "refunds_are_within_payments",
    ),
    ("DELETE FROM ledger_entry WHERE posting_key LIKE 'refund:%:paid'", "ledger_has_each_refund"),
    ("UPDATE refund SET state = 'canceled', due_at = NULL", "ledger_has_each_refund"),
    ("DELETE FROM refund", "ledger_has_each_refund"),
    ("UPDATE refund SET state = 'manual', due_at = NULL", "refunds_payable_are_open_refunds"),
    ("UPDATE refund SET state = 'failed', due_at = NULL", "sandbox_gave_each_refund_once"),
    ("DELETE FROM sandbox_gateway_refund", "sandbox_gave_each_refund_once"),
    ("UPDATE sandbox_gateway_refund SET amount_minor = amount_minor + 1", "sandbox_gave_each_refund_once"),
    ("UPDATE dispute SET taken_minor = taken_minor + 1", "disputes_are_taken_back"),
    ("UPDATE dispute SET state = 'won'", "disputes_are_taken_back"),
    (
        "UPDATE refund SET due_at = '2020-01-01', state = 'pending', retry_at = NULL",
        "refunds_are_not_overdue",
    ),
]
CHECKS = {**CREDIT_NOTE_CHECKS, **REFUND_CHECKS}


async def a_busy_day(bench: Workbench, service: ServiceUnderTest) -> None:
    """Everything that there is, once: notes to the invoice, the balance and back; deposits; voids; a bad debt."""
    tenant = new_tenant()
    async with service.client(tenant, *BOTH) as client:
        story = await a_customer(bench, client, tenant)
        due = await an_invoice(client, story, ("1", "100.00"), ("2", "5.05"))
        off = {"invoice_id": due["id"], "reason": "Late", "amount": eur("33.33")}
        await post(client, "/v1/credit-notes", off)
        await post(client, f"/v1/invoices/{due['id']}/write-offs", {"reason": "Insolvent"})
        void = await an_invoice(client, story, ("3", "9.99"))
        await post(client, f"/v1/invoices/{void['id']}/voids", {"reason": "Wrong name"})
        await post(client, f"/v1/invoices/{void['id']}/reissues", {"finalize": True})
        customer = {"customer_id": story.customer.customer_id}
        asked = await post(client, "/v1/deposits", {**customer, "amount": eur("500.00")})
        await bench.add_method(story)
        paid = await an_invoice(client, story, ("1", "100.00"))
        damage = {**customer, "amount": eur("60.00"), "description": "A chair"}
        while await bench.collect():
            pass
        split = {"to_invoice": eur("0.00"), "to_balance": eur("21.00"), "to_refund": eur("50.00")}
        back = {"invoice_id": paid["id"], "reason": "Unhappy", "amount": eur("71.00"), "split": split}
        await post(client, "/v1/credit-notes", back)
        chair = await post(client, "/v1/compensation-notes", {**damage, "amount": eur("81.00")})
        await post(client, f"/v1/deposits/{asked['id']}/set-offs", {"invoice_id": chair["id"]})
        await post(
            client, f"/v1/deposits/{asked['id']}/releases", {"reason": "Back", "amount": eur("100.00")}
        )
        (deposit,) = await listed(client, "/v1/deposits")
        assert deposit["remaining"] == eur("340.00")
        await bench.run_job("give_refunds")
        later = await an_invoice(client, story, ("1", "10.00"))
        while await bench.collect():
            pass
        (payment,) = await bench.rows(
            "SELECT payment_id AS id FROM payment_allocation WHERE invoice_id = $1", later["id"]
        )
        await post(client, "/v1/disputes", {"payment_id": payment["id"], "reason": "Not his card"})
        await taken_back(bench, client, story, asked)


async def taken_back(bench: Workbench, client: httpx.AsyncClient, story: Story, used: Thing) -> None:
    """The payment of a deposit that was used, of one that is whole, and one of which the balance was given something."""
    customer = {"customer_id": story.customer.customer_id}
    whole = await post(client, "/v1/deposits", {**customer, "amount": eur("70.00")})
    await bench.run_job("collect_payments")
    overpaid = await transfer(bench, story.tenant, story, 20000)
    await an_invoice(client, story, ("1", "100.00"))
    for of in (used, whole):
        paid_by, _ = await payment_of(bench, {"id": of["invoice_id"]})
        await post(client, "/v1/disputes", {"payment_id": paid_by, "reason": "Not his account"})
    await post(client, "/v1/disputes", {"payment_id": overpaid, "reason": "Not his transfer"})
    await transfer(bench, story.tenant, story, 50000, {"id": used["invoice_id"]})


async def test_what_is_wrong_is_named_and_nothing_else(
    own_billing: ServiceUnderTest, own_bench: Workbench
) -> None:
    await a_busy_day(own_bench, own_billing)
    report = await own_bench.audit()
    assert {check.name: check.problems for check in report.checks if not check.ok} == {}
    looked_at = {check.name: check.checked_count for check in report.checks if check.name in CHECKS}
    assert {name for name, count in looked_at.items() if not count} == {
        "freed_charges_have_a_document_ahead",
        "refunds_are_not_overdue",
    }
    async with own_bench.admin() as admin:
        for tampering, name in TAMPERED:
            transaction = admin.transaction()
            await transaction.start()
            await admin.execute(
                "SET LOCAL session_replication_role = replica"
            )  # what guards the tables is asleep
            assert await admin.execute(tampering) not in ("UPDATE 0", "DELETE 0"), tampering
            found = await admin.fetch(CHECKS[name][0].replace("\\:", ":"))
            assert found, f"{name} does not notice: {tampering}"
            await transaction.rollback()

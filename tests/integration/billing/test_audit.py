"""The audit: clean on good data, and each check proven able to fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import asyncpg
import pytest
import pytest_asyncio

from libs.common.access.tenancy import AUDIT
from libs.common.money import Money
from libs.common.persistence.audit import AuditReport
from libs.common.persistence.session import Database, asyncpg_dsn
from services.billing.adapters.audit import _CHECKS, audit_billing
from services.billing.adapters.audit_gathering import GATHERING_CHECKS
from services.billing.adapters.audit_ledger import LEDGER_CHECKS
from services.billing.application.adjust_customer_balance import (
    AdjustCustomerBalance,
    adjust_customer_balance,
)
from services.billing.bootstrap import build
from tests.integration.billing.crediting import BOTH, a_customer, eur, post
from tests.integration.billing.test_disputes import payment_of
from tests.integration.billing.test_received_payments import Office
from tests.integration.billing.test_refunds import credit
from tests.integration.billing.workbench import Workbench, after
from tests.support.bank_statements import Paid, booked, camt053
from tests.support.billing import FEE, Story
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest, new_tenant, service_under_test


@pytest_asyncio.fixture(scope="module")
async def told(postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The name of a database with invoices that are paid, failed, skipped, and waiting for their usage, and with money
    that came and went.

    Nobody is connected to it, so that it can be copied: each test corrupts a copy of its own.
    """
    folder = tmp_path_factory.mktemp("audited-billing")
    async with service_under_test(postgres, "billing", build, folder=folder) as service:
        await tell_of_money(Workbench(service), service)
        await tell(Workbench(service), new_tenant())
        name = await copied(postgres, service)
    yield name
    await postgres.drop_database(name)


async def copied(postgres: PostgresForTests, service: ServiceUnderTest) -> str:
    """A copy of the service's database, whose connections are closed for it."""
    await service.service.close()
    async with postgres.admin() as admin:
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", service.database.name
        )
    return await postgres.create_database("told", template=service.database.name)


async def tell(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    stories = [Story(tenant) for _ in range(3)]
    for story, behaviour in zip(stories, ("succeeds", "fails_once", "always_fails"), strict=True):
        await bench.hear(story.started())
        await bench.add_method(story, behaviour)
    clock = after(stories[0].boundary(0), minutes=1)
    await bench.collect(clock=clock)
    for story in stories:
        await bench.hear(story.renewed(1), story.window_closed(0, "150000"), story.ended(1))
    await _give(bench, stories[1])
    await bench.hear(stories[0].window_closed(1, "0"), stories[0].usage_corrected(0, "150000", "150010"))
    clock.now = stories[0].boundary(1) + timedelta(hours=2)
    await bench.collect(clock=clock)
    async with bench.admin() as admin:  # whatever the schedule still has to do lies ahead
        await admin.execute(
            """UPDATE payment_attempt SET due_at = now() + interval '1 day' WHERE due_at IS NOT NULL;
               UPDATE refund SET due_at = now() + interval '1 day' WHERE due_at IS NOT NULL"""
        )
        await admin.execute("UPDATE outbox SET published_at = now()")
        await admin.execute(
            """INSERT INTO gateway_event (tenant, id, gateway, account, event_id, type, subject_kind, subject_id,
                                          happened_at, created_at, done_at)
               SELECT $1::uuid, 'gwe_done', 'stripe', 'main', 'evt_done', 'x', 'payment', 'pi_x', now(), now(), now()""",
            tenant,
        )


async def tell_of_money(bench: Workbench, service: ServiceUnderTest) -> None:
    """What was collected is given back, and taken back by a bank; what a bank tells of is nobody's, and a part comes."""
    tenant = new_tenant()
    async with service.client(tenant, *BOTH) as client:
        office = Office(bench, client, tenant, await a_customer(bench, client, tenant))
        await bench.add_method(office.story)
        disputed, credited = await office.invoice("100.00"), await office.invoice("50.00")
        await bench.run_job("collect_payments")
        await credit(client, credited, amount=eur("20.00"))
        await bench.run_job("give_refunds")
        await credit(client, credited, amount=eur("5.00"))  # goes back later
        payment_id, _ = await payment_of(bench, disputed)
        await post(client, "/v1/disputes", {"payment_id": payment_id, "reason": "Not his card"})
        await office.pay("21.00", allocations=[{"invoice_id": disputed["id"]}])
        came = booked(Paid("99.00", "who knows", iban=None), reference="A1")
        await office.take_in(camt053(came, booked(Paid("5.00", "rent"), is_debit=True, reference="A2")))
        await office.match()


async def _give(bench: Workbench, story: Story) -> None:
    """Goodwill by hand, and a document below zero: the next one is paid of it whole, and collected by nobody."""
    balance = AdjustCustomerBalance(story.customer.customer_id, Money(500, "USD"), "goodwill")
    async with bench.open(story.tenant) as uow:
        customer = await uow.customers.find(story.customer.customer_id)
        assert customer is not None
        await adjust_customer_balance(balance, customer=customer, now=story.boundary(1), uow=uow)
    for amount in ("-10.00", "12.00"):
        fee = FEE.model_copy(update={"id": f"prc_{amount}", "unit_amount": Decimal(amount)})
        given = Story(story.tenant, customer=story.customer, quantity="1", metered=False, fee=fee)
        await bench.hear(given.started())


async def audited(postgres: PostgresForTests, template: str, *statements: str) -> AuditReport:
    """The report on a copy of the database, in which the statements have been at work."""
    name = await postgres.create_database("audited", template=template)
    admin = await asyncpg.connect(asyncpg_dsn(postgres.server.dsn(name)))
    try:
        await admin.execute("SET session_replication_role = replica")  # triggers do not hinder us
        for statement in statements:
            assert await admin.execute(statement) not in ("UPDATE 0", "DELETE 0", "INSERT 0 0")
    finally:
        await admin.close()
    database = Database(postgres.server.dsn(name, AUDIT), pool_size=1)
    try:
        return await audit_billing(database)
    finally:
        await database.close()
        await postgres.drop_database(name)


def failing(report: AuditReport) -> dict[str, tuple[str, ...]]:
    return {check.name: check.problems for check in report.checks if not check.ok}


async def test_good_data_is_clean(postgres: PostgresForTests, told: str) -> None:
    report = await audited(postgres, told)
    assert failing(report) == {}
    counted = {check.name: check.checked_count for check in report.checks}
    assert [name for name in _CHECKS if not counted[name]] == []
    assert report.facts["invoices"] == 9 + 2  # those of the money that came and went
    assert report.facts["documents"]["count"] == 11


class Corruption(NamedTuple):
    name: str
    statement: str
    checks: tuple[str, ...]


PAID = "(SELECT id FROM invoice WHERE status = 'paid' AND number LIKE 'INV-%' ORDER BY number LIMIT 1)"
APPLIED = "(SELECT id FROM invoice WHERE balance_applied_minor > 0)"

CORRUPTIONS = [
    Corruption(
        "a_part_gathered_nowhere",
        "UPDATE invoice SET status = 'gathered', gathered_into = 'inv_nowhere' WHERE status = 'skipped'",
        ("parts_are_gathered_somewhere",),
    ),
    Corruption(
        "a_draft_that_nobody_gathers",
        "UPDATE invoice SET held_for = 'gathering', due_at = NULL WHERE status = 'draft'",
        ("what_is_held_is_held_by_somebody",),
    ),
    Corruption(
        "a_billing_run_that_stands_still",
        """INSERT INTO billing_run (tenant, id, state, until, created_at, is_dry, requested_by, is_gathered,
                                    invoice_count, totals, exceeded)
           SELECT tenant, 'brn_1', 'running', now(), now(), false, 'nobody', true, 0, '{}', '[]' FROM seller LIMIT 1""",
        ("billing_runs_go_on",),
    ),
    Corruption(
        "a_line_lost",
        "DELETE FROM invoice_line WHERE ordinal = 2",
        ("invoice_lines_sum_to_net", "charges_stand_on_their_lines"),
    ),
    Corruption(
        "a_cent_on_a_charge",
        f"UPDATE charge SET amount_minor = amount_minor + 1 WHERE invoice_id = {PAID}",
        ("charges_stand_on_their_lines", "rated_again_gives_the_same"),
    ),
    Corruption(
        "something_owed_on_a_skipped_document",
        "UPDATE charge SET amount_minor = 5 WHERE invoice_id IN (SELECT id FROM invoice WHERE status = 'skipped')",
        ("charges_stand_on_their_lines", "rated_again_gives_the_same"),
    ),
    Corruption(
        "more_given_back_than_charged",
        """UPDATE charge SET amount_minor = -5, quantity_before = 1
           WHERE invoice_id IN (SELECT id FROM invoice WHERE status = 'skipped')""",
        ("charges_stand_on_their_lines", "rated_again_gives_the_same", "credits_are_within_charges"),
    ),
    Corruption(
        "a_price_changed_afterwards",
        "UPDATE charge SET price = jsonb_set(price, '{unit_amount}', '\"1200.01\"') WHERE kind = 'advance'",
        ("rated_again_gives_the_same",),
    ),
    Corruption(
        "a_formula_changed",
        "UPDATE invoice_line SET formula = 'because'",
        ("rated_again_gives_the_same",),
    ),
    Corruption(
        "a_charge_on_no_document",
        "UPDATE charge SET invoice_id = NULL WHERE kind = 'usage'",
        ("charges_are_on_a_document",),
    ),
    Corruption(
        "a_charge_on_a_document_of_another",
        """UPDATE charge SET subscription_id = 'sub_other'
           WHERE invoice_id IN (SELECT id FROM invoice WHERE status = 'skipped')""",
        ("charges_are_on_a_document",),
    ),
    Corruption(
        "a_number_skipped",
        "UPDATE invoice SET number = 'INV-000099' WHERE number = 'INV-000008'",
        ("numbers_without_gap",),
    ),
    Corruption(
        "a_number_twice",
        "UPDATE invoice SET number = 'INV-00003' WHERE number = 'INV-000002'",
        ("numbers_without_gap",),
    ),
    Corruption(
        "a_number_that_is_none",
        "UPDATE invoice SET number = 'INV-later' WHERE number = 'INV-000002'",
        ("numbers_without_gap",),
    ),
    Corruption("the_last_number_lost", "UPDATE number_series SET next = 11", ("numbers_without_gap",)),
    Corruption("a_series_lost", "DELETE FROM number_series", ("numbers_without_gap",)),
    Corruption(
        "a_posting_out_of_balance",
        "UPDATE ledger_entry SET amount_minor = amount_minor + 1 WHERE account = 'revenue'",
        ("ledger_sets_balance",),
    ),
    Corruption(
        "an_invoice_not_posted",
        f"DELETE FROM ledger_entry WHERE posting_key = 'invoice:' || {PAID} || ':final'",
        ("ledger_has_each_invoice",),
    ),
    Corruption(
        "tax_that_is_posted_otherwise",
        """UPDATE ledger_entry SET account = 'tax_payable'
           WHERE account = 'revenue' AND posting_key LIKE '%:final'""",
        ("ledger_has_each_invoice",),
    ),
    Corruption(
        "revenue_that_is_never_earned",
        f"DELETE FROM ledger_entry WHERE posting_key LIKE '%:earned:%' AND invoice_id = {PAID}",
        ("contract_liabilities_are_earned", "rated_again_gives_the_same"),
    ),
    Corruption(
        "earned_in_another_month",
        """UPDATE ledger_entry SET posted_on = posted_on + 31, posted_at = posted_at + interval '31 days'
           WHERE posting_key LIKE '%:earned:%'""",
        ("rated_again_gives_the_same",),
    ),
    Corruption(
        "owed_though_it_is_paid",
        f"""UPDATE ledger_entry SET amount_minor = amount_minor / 2
            WHERE attempt_id IS NOT NULL AND invoice_id = {PAID}""",
        (
            "receivables_are_open_items",
            "payments_match_ledger_and_invoice",
            "payments_are_where_they_were_put",
        ),
    ),
    Corruption(
        "a_receivable_of_nobody",
        "UPDATE ledger_entry SET invoice_id = NULL WHERE attempt_id IS NOT NULL",
        ("receivables_are_open_items",),
    ),
    Corruption(
        "an_accrual_that_stays",
        f"""INSERT INTO ledger_entry (tenant, posting_key, ordinal, account, amount_minor, currency, posted_at,
                                      posted_on, invoice_id)
            SELECT tenant, 'x', ordinal, account, side * 5, 'USD', now(), now()::date, id
            FROM invoice, (VALUES (0, 'contract_asset', 1), (1, 'revenue', -1)) AS entry (ordinal, account, side)
            WHERE id = {PAID}""",
        ("accruals_are_reversed",),
    ),
    Corruption(
        "a_set_of_two_dates",
        "UPDATE ledger_entry SET posted_on = posted_on + 1 WHERE account = 'accounts_receivable'",
        ("ledger_sets_are_of_one_date",),
    ),
    Corruption(
        "a_posting_of_no_invoice",
        "UPDATE ledger_entry SET invoice_id = 'inv_none' WHERE account = 'revenue'",
        ("ledger_has_nothing_else",),
    ),
    Corruption(
        "a_posting_of_no_payment",
        "UPDATE ledger_entry SET attempt_id = 'pay_none' WHERE attempt_id IS NOT NULL",
        ("ledger_has_nothing_else",),
    ),
    Corruption(
        "paid_and_not_posted",
        f"DELETE FROM ledger_entry WHERE attempt_id IS NOT NULL AND invoice_id = {PAID}",
        (
            "receivables_are_open_items",
            "payments_match_ledger_and_invoice",
            "payments_are_where_they_were_put",
        ),
    ),
    Corruption(
        "posted_and_not_paid",
        f"UPDATE invoice SET status = 'finalized', paid_minor = 0 WHERE id = {PAID}",
        ("payments_match_ledger_and_invoice",),
    ),
    Corruption(
        "collected_and_not_recorded",
        f"UPDATE payment_attempt SET state = 'failed' WHERE invoice_id = {PAID}",
        ("gateway_payments_are_their_attempts", "gateway_took_what_was_recorded", "ledger_has_nothing_else"),
    ),
    Corruption(
        "owed_though_all_of_it_came",
        f"UPDATE invoice SET status = 'finalized', paid_at = NULL WHERE id = {PAID}",
        ("payments_match_ledger_and_invoice",),
    ),
    Corruption(
        "void_though_it_is_paid",
        f"UPDATE invoice SET status = 'void', paid_at = NULL, voided_at = now() WHERE id = {PAID}",
        ("payments_match_ledger_and_invoice",),
    ),
    Corruption(
        "a_cent_more_put_on_an_invoice",
        f"UPDATE payment_allocation SET amount_minor = amount_minor + 1 WHERE invoice_id = {PAID}",
        ("payments_match_ledger_and_invoice", "payments_are_where_they_were_put"),
    ),
    Corruption(
        "collected_and_not_received",
        "DELETE FROM payment WHERE way = 'gateway'",
        ("gateway_payments_are_their_attempts",),
    ),
    Corruption(
        "received_of_a_gateway_that_was_not_asked",
        "UPDATE payment SET way = 'gateway' WHERE way = 'cheque'",
        ("gateway_payments_are_their_attempts",),
    ),
    Corruption(
        "ignored_and_received",
        "UPDATE bank_statement_entry SET state = 'ignored' WHERE state = 'unmatched'",
        ("bank_entries_are_counted_once",),
    ),
    Corruption(
        "told_by_no_bank",
        "DELETE FROM bank_statement_entry WHERE direction = 'credit'",
        ("bank_entries_are_counted_once",),
    ),
    Corruption(
        "more_received_than_the_bank_told",
        """UPDATE payment SET amount_minor = amount_minor + 1, unapplied_minor = unapplied_minor + 1
           WHERE entry_id IS NOT NULL""",
        ("bank_entries_are_counted_once", "unapplied_money_is_a_liability"),
    ),
    Corruption(
        "unapplied_and_owed_to_nobody",
        """DELETE FROM ledger_entry WHERE account = 'unapplied_payments'
           AND source_id IN (SELECT id FROM payment WHERE entry_id IS NOT NULL)""",
        ("unapplied_money_is_a_liability", "payments_are_where_they_were_put"),
    ),
    Corruption(
        "more_given_back_than_was_paid",
        "UPDATE refund SET amount_minor = amount_minor + 100000",
        ("refunds_are_within_payments", "ledger_has_each_refund"),
    ),
    Corruption(
        "given_back_and_not_posted",
        "DELETE FROM ledger_entry WHERE posting_key LIKE 'refund:%:paid'",
        ("ledger_has_each_refund", "refunds_payable_are_open_refunds"),
    ),
    Corruption(
        "to_be_given_back_and_not_owed",
        "DELETE FROM refund WHERE state = 'pending'",
        ("refunds_payable_are_open_refunds",),
    ),
    Corruption(
        "given_back_by_nobody",
        "DELETE FROM sandbox_gateway_refund WHERE succeeded",
        ("sandbox_gave_each_refund_once",),
    ),
    Corruption(
        "given_back_twice",
        """INSERT INTO sandbox_gateway_refund
           SELECT (jsonb_populate_record(g, jsonb_build_object('idempotency_key', g.idempotency_key || '-2'))).*
           FROM sandbox_gateway_refund g WHERE succeeded""",
        ("sandbox_gave_each_refund_once",),
    ),
    Corruption(
        "a_refund_overdue",
        """UPDATE refund SET due_at = now() - interval '2 minutes', claimed_until = NULL, retry_at = NULL
           WHERE due_at IS NOT NULL""",
        ("refunds_are_not_overdue",),
    ),
    Corruption(
        "a_dispute_that_was_won_and_is_gone",
        "UPDATE dispute SET state = 'won'",
        ("disputes_are_taken_back",),
    ),
    Corruption(
        "more_taken_back_than_is_gone",
        "UPDATE dispute SET taken_minor = taken_minor + 1",
        ("disputes_are_taken_back",),
    ),
    Corruption(
        "the_gateway_took_more",
        "UPDATE sandbox_gateway_payment SET amount_minor = amount_minor + 1",
        ("gateway_took_what_was_recorded",),
    ),
    Corruption(
        "the_gateway_knows_nothing_of_it",
        "DELETE FROM sandbox_gateway_payment WHERE succeeded",
        ("gateway_took_what_was_recorded",),
    ),
    Corruption(
        "the_gateway_took_what_nobody_asked_for",
        """INSERT INTO sandbox_gateway_payment (idempotency_key, payment_method_id, amount_minor, currency, succeeded)
           VALUES ('pay_none', 'pm_none', 1, 'USD', true)""",
        ("gateway_took_what_was_recorded",),
    ),
    Corruption(
        "collected_by_nobody",
        f"UPDATE payment_attempt SET gateway_reference = NULL WHERE invoice_id = {PAID}",
        ("payments_are_with_a_gateway",),
    ),
    Corruption(
        "an_event_that_nobody_works_off",
        """INSERT INTO gateway_event (tenant, id, gateway, account, event_id, type, subject_kind, subject_id, happened_at,
                                      created_at, due_at)
           SELECT tenant, 'gwe_x', 'stripe', 'main', 'evt_x', 'x', 'payment', 'pi_x', now(), now(),
                  now() - interval '1 day' FROM payment_attempt LIMIT 1""",
        ("gateway_events_are_worked_off",),
    ),
    Corruption(
        "an_invoice_that_nobody_collects",
        "DELETE FROM payment_attempt WHERE state IN ('failed', 'pending')",
        ("issued_invoices_have_an_attempt",),
    ),
    Corruption(
        "somebody_is_asked_for_what_the_balance_paid",
        f"UPDATE payment_attempt SET invoice_id = {APPLIED} WHERE invoice_id = {PAID}",
        ("issued_invoices_have_an_attempt",),
    ),
    Corruption(
        "a_cent_more_on_a_balance",
        "UPDATE customer_balance SET balance_minor = balance_minor + 1",
        ("customer_balances_are_their_entries",),
    ),
    Corruption(
        "a_balance_lost",
        "DELETE FROM customer_balance",
        ("customer_balances_are_their_entries",),
    ),
    Corruption(
        "an_entry_lost",
        "DELETE FROM customer_balance_entry WHERE kind = 'credit'",
        (
            "customer_balances_are_their_entries",
            "customer_balances_match_invoices",
            "ledger_has_each_customer_balance",
        ),
    ),
    Corruption(
        "an_entry_that_tells_another_sum",
        "UPDATE customer_balance_entry SET after_minor = after_minor + 1 WHERE ordinal = 1",
        ("customer_balances_are_their_entries",),
    ),
    Corruption(
        "drawn_on_for_no_invoice",
        "UPDATE customer_balance_entry SET invoice_id = 'inv_none' WHERE kind = 'applied'",
        ("customer_balances_match_invoices", "ledger_has_each_customer_balance"),
    ),
    Corruption(
        "an_invoice_paid_of_nothing",
        "UPDATE invoice SET balance_applied_minor = 1 WHERE status = 'finalized'",
        ("customer_balances_match_invoices",),
    ),
    Corruption(
        "goodwill_of_another_amount",
        """UPDATE ledger_entry SET amount_minor = 2 * amount_minor
           WHERE posting_key IN (SELECT posting_key FROM ledger_entry WHERE account = 'goodwill')""",
        ("ledger_has_each_customer_balance",),
    ),
    Corruption(
        "goodwill_that_nobody_gave",
        "UPDATE ledger_entry SET balance_entry_id = 'ben_none' WHERE account = 'goodwill'",
        ("ledger_has_nothing_else",),
    ),
    Corruption(
        "a_draft_left_behind",
        "UPDATE invoice SET awaits_window = false WHERE status = 'draft'",
        ("complete_drafts_are_finalized",),
    ),
    Corruption(
        "a_window_missed",
        """INSERT INTO closed_window (tenant, id, subscription_id, period_index, window_start, window_end,
                                      closed_at, totals)
           SELECT tenant, 'uwin_x', subscription_id, period_index - 1, created_at, boundary_at, created_at, '[]'
           FROM invoice WHERE status = 'draft' LIMIT 1""",
        ("drafts_do_not_wait_in_vain",),
    ),
    Corruption(
        "a_payment_overdue",
        """UPDATE payment_attempt SET due_at = now() - interval '2 minutes', claimed_until = NULL
           WHERE due_at IS NOT NULL""",
        ("payments_are_not_overdue",),
    ),
    Corruption(
        "usage_that_came_late",
        """UPDATE corrected_window SET totals = jsonb_set(totals, '{0,quantity}', '"150011"')""",
        ("usage_is_billed_as_counted",),
    ),
    Corruption(
        "usage_that_was_billed_and_not_counted",
        "UPDATE corrected_window SET is_billable = false",
        ("usage_is_billed_as_counted",),
    ),
    Corruption(
        "a_correction_of_something_else",
        """UPDATE charge SET billed_before = '[["1", 1, null]]' WHERE billed_before IS NOT NULL""",
        ("corrections_go_on_from_charges",),
    ),
    Corruption(
        "an_event_not_published",
        "UPDATE outbox SET published_at = NULL, recorded_at = now() - interval '2 minutes'",
        ("outbox_stale",),
    ),
    Corruption(
        "a_dead_letter",
        """INSERT INTO message_failure (handler, message_id, topic, partition, "offset", key, headers, value,
                                        dead, error)
           VALUES ('perennial.billing', 'evt_x', 't', 0, 0, 'k', '{}', '', true, 'no')""",
        ("dead_letters",),
    ),
]


@pytest.mark.parametrize("case", CORRUPTIONS, ids=lambda case: case.name)
async def test_the_audit_finds(postgres: PostgresForTests, told: str, case: Corruption) -> None:
    found = failing(await audited(postgres, told, case.statement))
    assert set(case.checks) <= found.keys()
    assert all(found[name] for name in case.checks)


def test_every_check_is_proven() -> None:
    proven = {name for case in CORRUPTIONS for name in case.checks}
    assert proven >= {*_CHECKS, *GATHERING_CHECKS, *LEDGER_CHECKS, "rated_again_gives_the_same"}


async def test_a_missing_seller_is_named_with_its_reason(own_bench: Workbench) -> None:
    await own_bench.hear(Story(new_tenant(), metered=False).started())
    (problem,) = failing(await own_bench.audit())["complete_drafts_are_finalized"]
    assert "status_reason=no_seller" in problem


async def test_a_payment_waits_for_its_own_clock(own_bench: Workbench, tenant: str) -> None:
    """By the wall it has been due for years; by its clock it is not."""
    await own_bench.add_seller(tenant)
    story = Story(tenant, metered=False, clock="clk_1")
    await own_bench.hear(story.clock_moved(story.boundary(0)), story.started())
    async with own_bench.admin() as admin:
        await admin.execute("UPDATE outbox SET published_at = now()")
    assert failing(await own_bench.audit()) == {}
    await own_bench.hear(story.clock_moved(story.boundary(0) + timedelta(days=1), version=2))
    assert list(failing(await own_bench.audit())) == ["payments_are_not_overdue"]

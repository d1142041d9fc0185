"""Billing's audit: documents against charges, the ledger against documents and payments, numbers without a gap."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.audit import (
    AuditCheck,
    AuditReport,
    check_of,
    common_checks,
    count_facts,
    open_audit,
    run_check,
)
from libs.common.persistence.session import Database
from services.billing.adapters import mapping, rows
from services.billing.domain.charge import rated_lines

ISSUED = "('finalized', 'paid', 'void', 'uncollectible')"
OVERDUE_S = 60

_CHECKS: dict[str, tuple[str, str]] = {
    "invoice_lines_sum_to_net": (
        f"""SELECT i.id, i.net_minor, coalesce(sum(l.net_minor), 0) AS lines_minor
            FROM invoice i LEFT JOIN invoice_line l ON l.invoice_id = i.id
            WHERE i.status IN {ISSUED} GROUP BY i.id, i.net_minor
            HAVING i.net_minor <> coalesce(sum(l.net_minor), 0)""",
        f"SELECT count(*) FROM invoice WHERE status IN {ISSUED}",
    ),
    # Also on a document that was skipped, which has no lines: nothing that is owed may end there.
    "charges_stand_on_their_lines": (
        """SELECT c.id, c.amount_minor, coalesce(sum(l.net_minor), 0) AS lines_minor
            FROM charge c JOIN invoice i ON i.id = c.invoice_id AND i.status <> 'draft'
            LEFT JOIN invoice_line l ON l.charge_id = c.id AND l.invoice_id = c.invoice_id
            GROUP BY c.id, c.amount_minor HAVING c.amount_minor <> coalesce(sum(l.net_minor), 0)""",
        "SELECT count(*) FROM charge",
    ),
    # A fee may wait for the next document, and no longer.
    "charges_are_on_a_document": (
        """SELECT c.id, c.item_id, c.kind, c.period_index, c.invoice_id
           FROM charge c LEFT JOIN invoice i ON i.id = c.invoice_id AND i.tenant = c.tenant
                AND i.subscription_id = c.subscription_id
           WHERE i.id IS NULL AND (c.kind <> 'fee' OR c.invoice_id IS NOT NULL OR EXISTS (
                 SELECT FROM invoice l WHERE l.subscription_id = c.subscription_id AND l.created_at > c.created_at))""",
        "SELECT count(*) FROM charge",
    ),
    # What a commitment takes off was charged by prices of its own.
    "credits_are_within_charges": (
        """SELECT item_id, price_id, period_index, kind, sum(amount_minor) AS net_minor FROM charge
           WHERE kind <> 'commitment' GROUP BY tenant, item_id, price_id, period_index, kind
           HAVING sum(amount_minor) < 0 AND bool_or(quantity_before IS NOT NULL)""",
        "SELECT count(*) FROM charge",
    ),
    # The prefix is the seller's when the invoice was issued; what follows it is the ordinal.
    "numbers_without_gap": (
        f"""SELECT coalesce(s.seller_id, n.seller_id) AS seller_id, coalesce(s.series, n.series) AS series,
                   s.next, n.issued_count, n.lowest, n.highest
            FROM number_series s FULL JOIN (
                SELECT tenant, seller_id, series, count(*) AS issued_count,
                       count(DISTINCT ordinal) AS ordinal_count, min(ordinal) AS lowest, max(ordinal) AS highest
                FROM (SELECT tenant, seller_id, series,
                             CASE WHEN ordinal ~ '^[0-9]{{1,18}}$' THEN ordinal::bigint END AS ordinal
                      FROM (SELECT *, substr(number, length(seller->>'number_prefix') + 1) AS ordinal
                            FROM invoice WHERE status IN {ISSUED}) AS issued) AS numbered
                GROUP BY tenant, seller_id, series
            ) AS n USING (tenant, seller_id, series)
            WHERE (s.next, n.issued_count, n.ordinal_count, n.lowest)
                  IS DISTINCT FROM (n.highest + 1, n.highest, n.highest, 1)""",
        "SELECT count(*) FROM number_series",
    ),
    "ledger_sets_balance": (
        """SELECT posting_key, currency, sum(amount_minor) AS imbalance FROM ledger_entry
           GROUP BY tenant, posting_key, currency HAVING sum(amount_minor) <> 0""",
        "SELECT count(DISTINCT posting_key) FROM ledger_entry",
    ),
    "ledger_has_each_invoice": (
        f"""SELECT i.id, i.total_minor, coalesce(sum(e.amount_minor), 0) AS posted_minor
            FROM invoice i LEFT JOIN ledger_entry e ON e.invoice_id = i.id
                 AND e.account = 'accounts_receivable' AND e.posting_key = 'invoice:' || i.id || '\\:final'
            WHERE i.status IN {ISSUED} GROUP BY i.id, i.total_minor
            HAVING i.total_minor <> coalesce(sum(e.amount_minor), 0)""",
        f"SELECT count(*) FROM invoice WHERE status IN {ISSUED}",
    ),
    "ledger_has_nothing_else": (
        f"""SELECT e.posting_key FROM ledger_entry e
            LEFT JOIN invoice i ON i.id = e.invoice_id AND i.status IN {ISSUED}
            LEFT JOIN payment_attempt a ON a.id = e.attempt_id AND a.state = 'succeeded'
            LEFT JOIN customer_balance_entry b ON b.id = e.balance_entry_id AND b.kind = 'adjustment'
            WHERE (i.id IS NULL AND b.id IS NULL) OR (e.attempt_id IS NOT NULL AND a.id IS NULL)""",
        "SELECT count(*) FROM ledger_entry",
    ),
    "customer_balances_are_their_entries": (
        """SELECT coalesce(b.id, e.balance_id) AS balance, b.balance_minor, e.sum_minor, b.version, e.entry_count
           FROM customer_balance b FULL JOIN (
               SELECT balance_id, sum(amount_minor) AS sum_minor, count(*) AS entry_count,
                      max(ordinal) AS highest, bool_and(after_minor = running_minor) AS each_is
               FROM (SELECT *, sum(amount_minor) OVER (PARTITION BY balance_id ORDER BY ordinal) AS running_minor
                     FROM customer_balance_entry) AS told
               GROUP BY balance_id
           ) AS e ON e.balance_id = b.id
           WHERE (b.balance_minor, b.version, coalesce(e.entry_count, 0), coalesce(e.each_is, true))
                 IS DISTINCT FROM (coalesce(e.sum_minor, 0), coalesce(e.highest, 0), coalesce(e.highest, 0), true)""",
        "SELECT count(*) FROM customer_balance",
    ),
    "customer_balances_match_invoices": (
        """SELECT coalesce(i.id, e.invoice_id) AS invoice, i.balance_applied_minor, e.amount_minor
           FROM (SELECT * FROM invoice WHERE balance_applied_minor <> 0) AS i
           FULL JOIN (SELECT * FROM customer_balance_entry WHERE kind <> 'adjustment') AS e
                ON e.invoice_id = i.id AND e.customer_id = i.customer_id AND e.currency = i.currency
           WHERE e.amount_minor IS DISTINCT FROM -i.balance_applied_minor""",
        "SELECT count(*) FROM customer_balance_entry",
    ),
    # A credit of the account is owed to the customer: the other way round than the balance.
    "ledger_has_each_customer_balance": (
        """SELECT coalesce(e.id, l.posting_key) AS entry, e.amount_minor, l.amount_minor AS posted_minor
           FROM customer_balance_entry e
           FULL JOIN (SELECT * FROM ledger_entry WHERE account = 'customer_credit') AS l
                ON l.posting_key = CASE e.kind WHEN 'adjustment' THEN 'balance:' || e.id || '\\:adjusted'
                                               ELSE 'invoice:' || e.invoice_id || '\\:balance' END
                AND l.currency = e.currency
           WHERE l.amount_minor IS DISTINCT FROM -e.amount_minor""",
        "SELECT count(*) FROM customer_balance_entry",
    ),
    "payments_match_ledger_and_invoice": (
        """SELECT i.id, i.status, i.total_minor, i.balance_applied_minor, i.paid_minor,
                  cash.minor AS cash_minor, collected.minor AS collected_minor
           FROM invoice i
           CROSS JOIN LATERAL (SELECT coalesce(sum(amount_minor), 0) AS minor FROM ledger_entry e
                               WHERE e.invoice_id = i.id AND e.account = 'cash') AS cash
           CROSS JOIN LATERAL (SELECT coalesce(sum(amount_minor), 0) AS minor FROM payment_attempt a
                               WHERE a.invoice_id = i.id AND a.state = 'succeeded') AS collected
           WHERE i.paid_minor <> cash.minor OR i.paid_minor <> collected.minor
              OR (i.status = 'paid' AND i.paid_minor <> i.total_minor - i.balance_applied_minor)
              OR (i.status <> 'paid' AND i.paid_minor <> 0)""",
        "SELECT count(*) FROM invoice",
    ),
    # While an attempt is being called, nobody knows yet; the gateway will be asked.
    "gateway_took_what_was_recorded": (
        """SELECT coalesce(a.id, g.idempotency_key) AS attempt, a.state, a.amount_minor,
                  g.succeeded, g.amount_minor AS taken_minor
           FROM payment_attempt a FULL JOIN sandbox_gateway_payment g ON g.idempotency_key = a.id
           WHERE a.state IS DISTINCT FROM 'calling'
             AND (coalesce(a.state = 'succeeded', false) <> coalesce(g.succeeded, false)
                  OR g.amount_minor <> a.amount_minor OR g.currency <> a.currency)""",
        "SELECT count(*) FROM payment_attempt",
    ),
    # Of what the balance paid, or was given, nobody is asked for.
    "issued_invoices_have_an_attempt": (
        f"""SELECT i.id, i.number FROM invoice i WHERE i.status IN {ISSUED}
            AND (i.total_minor > i.balance_applied_minor)
                <> EXISTS (SELECT FROM payment_attempt a WHERE a.invoice_id = i.id)""",
        f"SELECT count(*) FROM invoice WHERE status IN {ISSUED}",
    ),
    # Finalized by nobody although nothing is awaited; a missing seller is a stated reason, and still a problem.
    "complete_drafts_are_finalized": (
        """SELECT id, subscription_id, boundary_at, status_reason FROM invoice
           WHERE status = 'draft' AND NOT awaits_window""",
        "SELECT count(*) FROM invoice WHERE status = 'draft'",
    ),
    "drafts_do_not_wait_in_vain": (
        """SELECT i.id, i.subscription_id, i.boundary_at FROM invoice i JOIN closed_window w
             ON w.subscription_id = i.subscription_id AND w.period_index = i.period_index - 1
           WHERE i.status = 'draft' AND i.awaits_window""",
        "SELECT count(*) FROM invoice WHERE status = 'draft'",
    ),
    "payments_are_not_overdue": (
        f"""SELECT a.id, a.due_at, a.last_error FROM payment_attempt a
            LEFT JOIN known_clock k ON k.id = a.clock_id
            WHERE a.due_at IS NOT NULL AND coalesce(a.claimed_until, '-infinity') < clock_timestamp()
              AND CASE WHEN a.clock_id IS NULL
                       THEN a.due_at < clock_timestamp() - interval '{OVERDUE_S} s'
                       ELSE a.due_at < k.now AND k.now IS NOT NULL END""",
        "SELECT count(*) FROM payment_attempt WHERE due_at IS NOT NULL",
    ),
    # Named, so that nobody takes what was billed for what was used: the difference is billed in a later release. What
    # came later than the plan bills it is no difference that is open.
    "late_usage_not_billed": (
        """SELECT w.id, w.subscription_id, w.period_index, later.item_id, billed.quantity AS billed,
                  later.quantity AS used
           FROM corrected_window w
           CROSS JOIN LATERAL jsonb_to_recordset(w.totals) AS later(item_id text, price_id text, quantity numeric)
           LEFT JOIN closed_window c ON c.id = w.id
           LEFT JOIN LATERAL jsonb_to_recordset(c.totals) AS billed(item_id text, price_id text, quantity numeric)
                ON billed.item_id = later.item_id AND billed.price_id IS NOT DISTINCT FROM later.price_id
           WHERE w.billable_revision > 0 AND later.quantity <> coalesce(billed.quantity, 0)""",
        "SELECT count(*) FROM corrected_window WHERE billable_revision > 0",
    ),
}

_FACTS = {
    "invoices": f"SELECT count(*) FROM invoice WHERE status IN {ISSUED}",
    "paid": "SELECT count(*) FROM invoice WHERE status = 'paid'",
    "charges": "SELECT count(*) FROM charge",
}


async def audit_billing(database: Database) -> AuditReport:
    """Everything that must hold in billing's database, looked at in one snapshot.

    Facts: `documents` lists (subscription, boundary, status, reason) for the check of completeness across
    services.
    """
    async with open_audit(database) as connection:
        checks: list[AuditCheck] = list(await common_checks(connection))
        for name, (problems, count) in _CHECKS.items():
            checks.append(await run_check(connection, name, problems, count))
        checks.append(await _rated_again(connection))
        facts: dict[str, Any] = dict(await count_facts(connection, _FACTS))
        facts["documents"] = await _documents(connection)
        facts["windows"] = await _windows(connection)
    return AuditReport(service="billing", checks=tuple(checks), facts=facts)


async def _rated_again(connection: AsyncConnection) -> AuditCheck:
    """Every charge rated again from what is stored gives the same amount, and the lines that were issued."""
    stored: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    line = rows.invoice_line.c
    shown = select(line.charge_id, line.tier, line.quantity, line.unit_amount, line.net_minor, line.formula)
    for id, *told in await connection.execute(shown):
        stored[id].append(tuple(told))
    problems: list[str] = []
    count = 0
    stream = await connection.stream(select(rows.charge))
    async for row in stream.mappings():
        count += 1
        charge = mapping.charge_from_row(row)
        rated = rated_lines(charge)
        if sum(part.amount.amount_minor for part in rated) != charge.amount.amount_minor:
            problems.append(f"charge={charge.id}, the amount is not what its price and quantity give")
        derived = {
            (part.tier or None, part.shown_quantity, part.unit_amount, part.amount.amount_minor, part.formula)
            for part in rated
        }
        if not derived.issuperset(stored.get(charge.id, ())):
            problems.append(f"charge={charge.id}, its lines are not what its price and quantity give")
    return check_of("rated_again_gives_the_same", checked_count=count, problems=problems)


async def _documents(connection: AsyncConnection) -> list[list[Any]]:
    found = await connection.execute(
        text(
            "SELECT subscription_id, boundary_at, status, status_reason FROM invoice "
            "WHERE document_kind = 'invoice' ORDER BY 1, 2, issue"
        )
    )
    return [[row[0], row[1].isoformat().replace("+00:00", "Z"), row[2], row[3]] for row in found]


async def _windows(connection: AsyncConnection) -> list[str]:
    found = await connection.execute(text("SELECT id FROM closed_window ORDER BY id"))
    return [row[0] for row in found]

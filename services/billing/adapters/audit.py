"""Billing's audit: documents against charges, the ledger against documents and payments, numbers without a gap."""

from __future__ import annotations

from typing import Any

from libs.common.persistence.audit import (
    AuditCheck,
    AuditReport,
    common_checks,
    count_facts,
    digests_of,
    open_audit,
    run_check,
)
from libs.common.persistence.session import Database
from services.billing.adapters.audit_credits import CREDIT_CHECKS
from services.billing.adapters.audit_documents import rated_again
from services.billing.adapters.audit_gathering import GATHERING_CHECKS
from services.billing.adapters.audit_ledger import LEDGER_CHECKS
from services.billing.adapters.audit_received_payments import RECEIVED_PAYMENT_CHECKS
from services.billing.adapters.audit_refunds import REFUND_CHECKS
from services.billing.adapters.audit_usage import (
    COUNT_OF_WINDOWS,
    USAGE_IS_BILLED_AS_COUNTED,
    corrections_go_on,
    pools_go_on,
)
from services.billing.adapters.credit_note_audit import CREDIT_NOTE_CHECKS

ISSUED = "('finalized', 'paid', 'void', 'uncollectible')"
OVERDUE_S = 60

_NUMBERED = f"""
    SELECT tenant, seller_id, series, number, seller->>'number_reset' AS reset,
           CASE document_kind WHEN 'deposit' THEN coalesce(seller->>'deposit_prefix', 'DEP-')
                              WHEN 'compensation' THEN coalesce(seller->>'compensation_prefix', 'CMP-')
                              ELSE seller->>'number_prefix' END AS prefix
    FROM invoice WHERE status IN {ISSUED}
    UNION ALL
    SELECT tenant, seller_id, series, number, seller->>'number_reset', coalesce(seller->>'credit_note_prefix', 'CN-')
    FROM credit_note"""

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
        """SELECT c.id, c.amount_minor, coalesce(sum(l.amount_minor), 0) AS lines_minor
            FROM charge c JOIN invoice i ON i.id = c.invoice_id AND i.status <> 'draft'
            LEFT JOIN invoice_line l ON l.charge_id = c.id AND l.invoice_id = c.invoice_id
            GROUP BY c.id, c.amount_minor HAVING c.amount_minor <> coalesce(sum(l.amount_minor), 0)""",
        "SELECT count(*) FROM charge",
    ),
    # Fees, what puts usage right, and what stood on a voided document may wait for the next one, and no longer. Usage is
    # told of on another topic than boundaries are: a document that was made since need not have known of it.
    "charges_are_on_a_document": (
        """SELECT c.id, c.item_id, c.kind, c.period_index, c.invoice_id, c.freed_from_id
           FROM charge c LEFT JOIN invoice i ON i.id = c.invoice_id AND i.tenant = c.tenant AND i.status <> 'void'
                AND (i.subscription_id = c.subscription_id OR i.subscription_ids ? c.subscription_id)
           LEFT JOIN invoice v ON v.id = c.freed_from_id
           WHERE i.id IS NULL AND (
                 (c.kind NOT IN ('fee', 'usage', 'commitment') AND v.id IS NULL) OR c.invoice_id IS NOT NULL OR (
                 SELECT count(*) FROM invoice l WHERE l.subscription_id = c.subscription_id AND l.replaces_id IS NULL
                 AND l.created_at > coalesce(v.voided_at, c.created_at) AND l.document_kind IN ('invoice', 'change'))
                 > CASE WHEN c.revision > 0 AND v.id IS NULL THEN 1 ELSE 0 END)""",
        "SELECT count(*) FROM charge",
    ),
    # What a commitment takes off was charged by prices of its own.
    "credits_are_within_charges": (
        """SELECT item_id, price_id, period_index, kind, sum(amount_minor) AS net_minor FROM charge
           WHERE kind <> 'commitment' GROUP BY tenant, item_id, price_id, period_index, kind
           HAVING sum(amount_minor) < 0 AND bool_or(quantity_before IS NOT NULL)""",
        "SELECT count(*) FROM charge",
    ),
    # The head is the seller's prefix for such documents when it was issued, and the year where he counts by it; what
    # follows is the ordinal.
    "numbers_without_gap": (
        f"""SELECT coalesce(s.seller_id, n.seller_id) AS seller_id, coalesce(s.series, n.series) AS series,
                   coalesce(s.head, n.head) AS head, s.next, n.issued_count, n.lowest, n.highest
            FROM number_series s FULL JOIN (
                SELECT tenant, seller_id, series, head, count(*) AS issued_count,
                       count(DISTINCT ordinal) AS ordinal_count, min(ordinal) AS lowest, max(ordinal) AS highest
                FROM (SELECT tenant, seller_id, series, head,
                             CASE WHEN starts_with(number, head)
                                   AND substr(number, length(head) + 1) ~ '^[0-9]{{1,18}}$'
                                  THEN substr(number, length(head) + 1)::bigint END AS ordinal
                      FROM (SELECT *, CASE WHEN reset = 'year' THEN prefix || substr(number, length(prefix) + 1, 5)
                                           ELSE prefix END AS head
                            FROM ({_NUMBERED}) AS issued) AS headed) AS numbered
                GROUP BY tenant, seller_id, series, head
            ) AS n USING (tenant, seller_id, series, head)
            WHERE (s.next, n.issued_count, n.ordinal_count, n.lowest)
                  IS DISTINCT FROM (n.highest + 1, n.highest, n.highest, 1)""",
        "SELECT count(*) FROM number_series",
    ),
    "ledger_sets_balance": (
        """SELECT posting_key, currency, sum(amount_minor) AS imbalance FROM ledger_entry
           GROUP BY tenant, posting_key, currency HAVING sum(amount_minor) <> 0""",
        "SELECT count(DISTINCT posting_key) FROM ledger_entry",
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
           FULL JOIN (SELECT * FROM customer_balance_entry WHERE kind IN ('applied', 'credit')) AS e
                ON e.invoice_id = i.id AND e.customer_id = i.customer_id AND e.currency = i.currency
           WHERE e.amount_minor IS DISTINCT FROM -i.balance_applied_minor""",
        "SELECT count(*) FROM customer_balance_entry",
    ),
    # A credit of the account is owed to the customer: the other way round than the balance.
    "ledger_has_each_customer_balance": (
        """SELECT coalesce(e.id, l.posting_key) AS entry, e.amount_minor, l.amount_minor AS posted_minor
           FROM customer_balance_entry e
           FULL JOIN (SELECT * FROM ledger_entry WHERE account = 'customer_credit') AS l
                ON l.posting_key = CASE e.kind
                        WHEN 'adjustment' THEN 'balance:' || e.id || '\\:adjusted'
                        WHEN 'credit_note' THEN 'credit_note:' || e.credit_note_id || '\\:issued'
                        WHEN 'given_back' THEN 'invoice:' || e.invoice_id || '\\:balance_returned'
                        WHEN 'payment_taken_back' THEN 'allocation:' || e.allocation_id || '\\:taken_back'
                        WHEN 'refund' THEN 'refund:' || e.refund_id || '\\:requested'
                        WHEN 'refund_canceled' THEN 'refund:' || e.refund_id || '\\:canceled'
                        WHEN 'payment' THEN 'allocation:' || e.allocation_id || '\\:made'
                        WHEN 'overpaid' THEN coalesce(
                            (SELECT 'payment:' || p.attempt_id || '\\:received' FROM payment_allocation a
                             JOIN payment p ON p.id = a.payment_id AND p.tenant = a.tenant
                             WHERE a.id = e.allocation_id AND p.attempt_id IS NOT NULL),
                            'allocation:' || e.allocation_id || '\\:made')
                        ELSE 'invoice:' || e.invoice_id || '\\:balance' END
                AND l.currency = e.currency
           WHERE l.amount_minor IS DISTINCT FROM -e.amount_minor""",
        "SELECT count(*) FROM customer_balance_entry",
    ),
    **RECEIVED_PAYMENT_CHECKS,
    **REFUND_CHECKS,
    # While an attempt is being called, or processed, nobody knows yet; the gateway will be asked. What other gateways
    # took is not known here.
    "gateway_took_what_was_recorded": (
        """SELECT coalesce(a.id, g.idempotency_key) AS attempt, a.state, a.amount_minor,
                  g.succeeded, g.amount_minor AS taken_minor
           FROM (SELECT t.* FROM payment_attempt t LEFT JOIN payment_method m ON m.id = t.payment_method_id
                 WHERE coalesce(m.gateway, 'sandbox') = 'sandbox') AS a
           FULL JOIN sandbox_gateway_payment g ON g.idempotency_key = a.id
           WHERE coalesce(a.state, '') NOT IN ('calling', 'processing')
             AND (coalesce(a.state = 'succeeded', false) <> coalesce(g.succeeded, false)
                  OR g.amount_minor <> a.amount_minor OR g.currency <> a.currency)""",
        "SELECT count(*) FROM payment_attempt",
    ),
    "payments_are_with_a_gateway": (
        """SELECT id, state, gateway_reference FROM payment_attempt
           WHERE (state IN ('succeeded', 'processing') AND gateway_reference IS NULL)
              OR (state = 'processing' AND (processing_since IS NULL OR due_at IS NULL))""",
        "SELECT count(*) FROM payment_attempt WHERE state IN ('succeeded', 'processing')",
    ),
    "gateway_events_are_worked_off": (
        f"""SELECT id, type, attempts, last_error FROM gateway_event
            WHERE due_at < clock_timestamp() - interval '{OVERDUE_S} s'""",
        "SELECT count(*) FROM gateway_event",
    ),
    # Of what the balance paid, or was given, nobody is asked for; nor for what is to come by transfer.
    "issued_invoices_have_an_attempt": (
        f"""SELECT i.id, i.number FROM invoice i WHERE i.status IN {ISSUED}
            AND (i.total_minor > i.balance_applied_minor + i.credits_applied_minor)
                <> EXISTS (SELECT FROM payment_attempt a WHERE a.invoice_id = i.id)
            AND NOT (coalesce(i.profile->>'pays_by', '') = 'bank_transfer'
                     AND i.total_minor > i.balance_applied_minor + i.credits_applied_minor)""",
        f"SELECT count(*) FROM invoice WHERE status IN {ISSUED}",
    ),
    # Finalized by nobody although nothing is awaited, not even the end of its grace or a person; a missing seller is a
    # stated reason, and still a problem.
    "complete_drafts_are_finalized": (
        f"""SELECT i.id, i.group_id, i.boundary_at, i.status_reason
            FROM invoice i LEFT JOIN known_clock k ON k.id = i.clock_id
            WHERE i.status = 'draft' AND NOT i.awaits_window AND i.held_for IS NULL
              AND (i.due_at IS NULL OR CASE WHEN i.clock_id IS NULL
                       THEN i.due_at < clock_timestamp() - interval '{OVERDUE_S} s'
                       ELSE i.due_at < k.now AND k.now IS NOT NULL END)""",
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
    "usage_is_billed_as_counted": (USAGE_IS_BILLED_AS_COUNTED, COUNT_OF_WINDOWS),
}

# The boundaries of which billing has a document, in the words in which subscriptions lists those that there are.
LISTINGS = {
    "documents": """
        SELECT DISTINCT subscription_id AS subject,
               subscription_id || to_char(boundary_at AT TIME ZONE 'UTC', ' YYYY-MM-DD"T"HH24\\:MI\\:SS.US"Z"') AS told
        FROM invoice WHERE document_kind = 'invoice' AND subscription_id IS NOT NULL"""
}

_FACTS = {
    "invoices": f"SELECT count(*) FROM invoice WHERE status IN {ISSUED}",
    "paid": "SELECT count(*) FROM invoice WHERE status = 'paid'",
    "charges": "SELECT count(*) FROM charge",
}


async def audit_billing(database: Database) -> AuditReport:
    """Everything that must hold in billing's database, looked at in one snapshot.

    Facts: `documents` are the digests of that listing, for the check of completeness across services.
    """
    async with open_audit(database) as connection:
        checks: list[AuditCheck] = list(await common_checks(connection))
        for name, (problems, count) in {**_CHECKS, **GATHERING_CHECKS, **LEDGER_CHECKS}.items():
            checks.append(await run_check(connection, name, problems, count))
        for name, (problems, count) in {**CREDIT_NOTE_CHECKS, **CREDIT_CHECKS}.items():
            checks.append(await run_check(connection, name, problems, count))
        checks.append(await rated_again(connection))
        checks.append(await corrections_go_on(connection))
        checks.append(await pools_go_on(connection))
        facts: dict[str, Any] = dict(await count_facts(connection, _FACTS))
        facts["documents"] = await digests_of(connection, LISTINGS["documents"])
    return AuditReport(service="billing", checks=tuple(checks), facts=facts)

"""What must hold of refunds and disputes: against payments, the ledger and the memory of the sandbox gateway."""

from __future__ import annotations

from services.billing.domain.refund import TAKEN_BACK

OVERDUE_S = 60

# Name → what is wrong, and how many things were looked at.
REFUND_CHECKS: dict[str, tuple[str, str]] = {
    # Of an invoice, what was paid and taken back since counts: it may have been given back before.
    "refunds_are_within_payments": (
        f"""SELECT r.invoice_id AS id, i.paid_minor, sum(r.amount_minor) AS refunded_minor
            FROM refund r LEFT JOIN invoice i ON i.id = r.invoice_id AND i.tenant = r.tenant
            CROSS JOIN LATERAL (SELECT -coalesce(sum(a.amount_minor), 0) AS minor FROM payment_allocation a
                                WHERE a.tenant = r.tenant AND a.invoice_id = r.invoice_id AND a.amount_minor < 0) AS back
            WHERE r.invoice_id IS NOT NULL AND r.state <> 'canceled'
            GROUP BY r.invoice_id, i.id, i.paid_minor, back.minor
            HAVING i.id IS NULL OR sum(r.amount_minor) > i.paid_minor + back.minor
            UNION ALL
            SELECT r.payment_id, p.amount_minor, sum(r.amount_minor)
            FROM refund r LEFT JOIN payment p ON p.id = r.payment_id AND p.tenant = r.tenant
            WHERE r.payment_id IS NOT NULL AND r.state <> 'canceled' AND r.failure IS DISTINCT FROM '{TAKEN_BACK}'
            GROUP BY r.payment_id, p.id, p.amount_minor
            HAVING p.id IS NULL OR sum(r.amount_minor) > p.amount_minor""",
        "SELECT count(*) FROM refund",
    ),
    # Both ways: money that went has a refund that succeeded, and what is to go, is owed; no more, and no less.
    "ledger_has_each_refund": (
        """SELECT coalesce(r.id, e.source_id) AS refund, r.state, r.amount_minor, e.cash_minor, e.owed_minor
           FROM refund r FULL JOIN (
               SELECT tenant, source_id,
                      -coalesce(sum(amount_minor) FILTER (WHERE account = 'cash'), 0) AS cash_minor,
                      coalesce(sum(amount_minor) FILTER (WHERE account = 'refunds_payable'), 0) AS owed_minor,
                      -coalesce(sum(amount_minor) FILTER (WHERE account = 'customer_credit'), 0) AS credit_minor
               FROM ledger_entry WHERE posting_key LIKE 'refund\\:%' GROUP BY tenant, source_id
           ) AS e ON e.source_id = r.id AND e.tenant = r.tenant
           CROSS JOIN LATERAL (SELECT CASE WHEN r.credit_note_id IS NULL AND r.deposit_id IS NULL
                                           THEN r.amount_minor ELSE 0 END AS minor) AS of_balance
           WHERE r.id IS NULL
              OR coalesce(e.cash_minor, 0) <> CASE r.state WHEN 'succeeded' THEN r.amount_minor ELSE 0 END
              OR coalesce(e.owed_minor, 0)
                 <> CASE WHEN r.state IN ('succeeded', 'canceled') THEN r.amount_minor ELSE 0 END - of_balance.minor
              OR coalesce(e.credit_minor, 0) <> CASE r.state WHEN 'canceled' THEN r.amount_minor ELSE 0 END
                                                - of_balance.minor""",
        "SELECT count(*) FROM refund",
    ),
    # The account is what is still to be given back, refund by refund.
    "refunds_payable_are_open_refunds": (
        """SELECT coalesce(r.tenant, e.tenant) AS id, r.open_minor, e.owed_minor FROM (
               SELECT tenant, currency, sum(amount_minor) AS open_minor FROM refund
               WHERE state NOT IN ('succeeded', 'canceled') GROUP BY tenant, currency
           ) AS r FULL JOIN (
               SELECT tenant, currency, -sum(amount_minor) AS owed_minor FROM ledger_entry
               WHERE account = 'refunds_payable' GROUP BY tenant, currency
           ) AS e ON e.tenant = r.tenant AND e.currency = r.currency
           WHERE coalesce(r.open_minor, 0) <> coalesce(e.owed_minor, 0)""",
        "SELECT count(*) FROM refund",
    ),
    # Each try has a key of its own, and only the last one may have given anything back.
    "sandbox_gave_each_refund_once": (
        """SELECT coalesce(r.id, g.refund_id) AS refund, r.state, r.amount_minor, g.given_minor FROM (
               SELECT r.* FROM refund r JOIN payment p ON p.id = r.payment_id
               JOIN payment_attempt a ON a.id = p.attempt_id JOIN payment_method m ON m.id = a.payment_method_id
               WHERE m.gateway = 'sandbox'
           ) AS r FULL JOIN (
               SELECT split_part(idempotency_key, '-', 1) AS refund_id, sum(amount_minor) AS given_minor
               FROM sandbox_gateway_refund WHERE succeeded GROUP BY 1
           ) AS g ON g.refund_id = r.id
           WHERE (r.id IS NULL AND g.given_minor <> 0) OR coalesce(g.given_minor, 0) > coalesce(r.amount_minor, 0)
              OR (r.state = 'succeeded' AND r.paid_reference IS NULL AND g.given_minor IS DISTINCT FROM r.amount_minor)
              OR (r.state IN ('failed', 'canceled', 'manual') AND coalesce(g.given_minor, 0) <> 0)""",
        "SELECT count(*) FROM refund",
    ),
    # What is gone by disputes is gone of the payment, unless more than all of it was asked back.
    "disputes_are_taken_back": (
        """SELECT d.payment_id AS id, p.reversed_minor, sum(d.taken_minor) AS taken_minor
           FROM dispute d LEFT JOIN payment p ON p.id = d.payment_id AND p.tenant = d.tenant
           GROUP BY d.payment_id, p.id, p.reversed_minor HAVING p.id IS NULL OR sum(d.taken_minor) > p.reversed_minor
           UNION ALL
           SELECT d.id, p.amount_minor - p.reversed_minor, d.taken_minor
           FROM dispute d JOIN payment p ON p.id = d.payment_id
           WHERE CASE WHEN d.state IN ('inquiry', 'won') THEN d.taken_minor <> 0
                      ELSE d.taken_minor < d.amount_minor - d.returned_minor AND p.reversed_minor < p.amount_minor END""",
        "SELECT count(*) FROM dispute",
    ),
    "refunds_are_not_overdue": (
        f"""SELECT r.id, r.due_at, r.last_error FROM refund r LEFT JOIN known_clock k ON k.id = r.clock_id
            WHERE r.due_at IS NOT NULL AND coalesce(r.claimed_until, '-infinity') < clock_timestamp()
              AND coalesce(r.retry_at, '-infinity') < clock_timestamp()
              AND CASE WHEN r.clock_id IS NULL
                       THEN r.due_at < clock_timestamp() - interval '{OVERDUE_S} s'
                       ELSE r.due_at < k.now AND k.now IS NOT NULL END""",
        "SELECT count(*) FROM refund WHERE due_at IS NOT NULL",
    ),
}

"""What must hold of money that came: it is where it was put, once, and the ledger says the same."""

# Name → what is wrong, and how many things were looked at.
RECEIVED_PAYMENT_CHECKS: dict[str, tuple[str, str]] = {
    # By whatever way it was paid: what payments put on it, less what was taken off, and deposits that were set off. The
    # ledger says the same, also of deposits and of what was given up; what is paid in full says so.
    "payments_match_ledger_and_invoice": (
        """SELECT i.id, i.status, i.total_minor, i.balance_applied_minor, i.paid_minor, coalesce(a.minor, 0)
                  AS allocated_minor, coalesce(l.deposited_minor, 0) AS deposited_minor, l.minor AS posted_minor
           FROM (SELECT *, total_minor - balance_applied_minor - credits_applied_minor - credited_minor AS asked_minor
                 FROM invoice) AS i
           FULL JOIN (SELECT tenant, invoice_id, currency, sum(amount_minor) AS minor FROM payment_allocation
                      WHERE invoice_id IS NOT NULL GROUP BY 1, 2, 3) AS a
                ON a.tenant = i.tenant AND a.invoice_id = i.id AND a.currency = i.currency
           LEFT JOIN (SELECT tenant, invoice_id, -sum(amount_minor) AS minor,
                             -sum(amount_minor) FILTER (WHERE posting_key LIKE 'deposit:%') AS deposited_minor
                      FROM ledger_entry
                      WHERE (account = 'accounts_receivable' AND posting_key LIKE 'deposit:%')
                         OR (account IN ('accounts_receivable', 'bad_debt', 'deposit_liability')
                             AND (posting_key LIKE 'payment:%' OR posting_key LIKE 'allocation:%'))
                      GROUP BY 1, 2) AS l ON l.tenant = i.tenant AND l.invoice_id = i.id
           WHERE i.id IS NULL OR i.paid_minor <> coalesce(a.minor, 0) + coalesce(l.deposited_minor, 0)
              OR i.paid_minor <> coalesce(l.minor, 0)
              OR (i.status NOT IN ('finalized', 'paid', 'uncollectible') AND i.paid_minor <> 0)
              OR (i.status = 'paid' AND i.paid_minor <> i.asked_minor)
              OR (i.status = 'finalized' AND i.paid_minor <> 0 AND i.paid_minor >= i.asked_minor)""",
        "SELECT count(*) FROM invoice",
    ),
    "payments_are_where_they_were_put": (
        """SELECT p.id, p.amount_minor, p.reversed_minor, p.allocated_minor, p.to_balance_minor, p.unapplied_minor,
                  l.cash_minor, l.unapplied_minor AS posted_minor
           FROM payment p
           LEFT JOIN (SELECT tenant, payment_id,
                             coalesce(sum(amount_minor) FILTER (WHERE invoice_id IS NOT NULL), 0) AS allocated_minor,
                             coalesce(sum(amount_minor) FILTER (WHERE invoice_id IS NULL), 0) AS balance_minor,
                             max(ordinal) AS last, count(*) AS made
                      FROM payment_allocation GROUP BY 1, 2) AS a ON a.tenant = p.tenant AND a.payment_id = p.id
           LEFT JOIN (SELECT e.tenant, coalesce(q.id, e.source_id) AS payment_id,
                             coalesce(sum(e.amount_minor) FILTER (WHERE account = 'cash'), 0) AS cash_minor,
                             coalesce(sum(e.amount_minor) FILTER (WHERE account = 'unapplied_payments'), 0)
                                 AS unapplied_minor
                      FROM ledger_entry e LEFT JOIN payment q ON q.attempt_id = e.attempt_id AND q.tenant = e.tenant
                      WHERE e.account IN ('cash', 'unapplied_payments') GROUP BY 1, 2) AS l
                ON l.tenant = p.tenant AND l.payment_id = p.id
           WHERE (p.allocated_minor, p.to_balance_minor, p.allocation_count, p.allocation_count)
                 IS DISTINCT FROM (coalesce(a.allocated_minor, 0)::bigint, coalesce(a.balance_minor, 0)::bigint,
                                   coalesce(a.last, 0), coalesce(a.made, 0)::int)
              OR (p.amount_minor - p.reversed_minor, -p.unapplied_minor)
                 IS DISTINCT FROM (l.cash_minor::bigint, l.unapplied_minor::bigint)""",
        "SELECT count(*) FROM payment",
    ),
    # Both ways: each attempt that succeeded brought one payment, and no other payment is a gateway's.
    "gateway_payments_are_their_attempts": (
        """SELECT coalesce(p.id, a.id) AS payment, p.amount_minor, a.amount_minor AS collected_minor
           FROM (SELECT * FROM payment WHERE way = 'gateway' OR attempt_id IS NOT NULL) AS p
           FULL JOIN (SELECT * FROM payment_attempt WHERE state = 'succeeded') AS a
                ON a.id = p.attempt_id AND a.tenant = p.tenant AND a.customer_id = p.customer_id
           WHERE (p.amount_minor, p.currency) IS DISTINCT FROM (a.amount_minor, a.currency) OR p.way <> 'gateway'""",
        "SELECT count(*) FROM payment WHERE way = 'gateway'",
    ),
    # What a bank told of is counted once: money that came is one payment, and what is ignored is none.
    "bank_entries_are_counted_once": (
        """SELECT coalesce(e.id, p.entry_id) AS entry, e.state, e.amount_minor, p.count, p.minor
           FROM (SELECT * FROM bank_statement_entry WHERE direction = 'credit' AND state <> 'pending') AS e
           FULL JOIN (SELECT tenant, entry_id, currency, count(*) AS count, sum(amount_minor) AS minor,
                             min(id) AS id FROM payment
                      WHERE entry_id IS NOT NULL AND (state = 'received' OR allocated_minor + to_balance_minor > 0)
                      GROUP BY 1, 2, 3) AS p
                ON p.tenant = e.tenant AND p.entry_id = e.id AND p.currency = e.currency
           WHERE e.id IS NULL OR (e.state = 'ignored' AND p.id IS NOT NULL)
              OR (p.id IS NOT NULL AND (p.count, p.minor) IS DISTINCT FROM (1, e.amount_minor::numeric))
              OR (e.state <> 'ignored' AND e.payment_id IS NULL)""",
        "SELECT count(*) FROM bank_statement_entry",
    ),
    # Money that is on nothing is owed to somebody, known or not: the liability is the sum of it.
    "unapplied_money_is_a_liability": (
        """SELECT coalesce(l.currency, p.currency) AS currency, l.minor AS posted_minor, p.minor AS unapplied_minor
           FROM (SELECT tenant, currency, -sum(amount_minor) AS minor FROM ledger_entry
                 WHERE account = 'unapplied_payments' GROUP BY 1, 2) AS l
           FULL JOIN (SELECT tenant, currency, sum(unapplied_minor) AS minor FROM payment GROUP BY 1, 2) AS p
                ON p.tenant = l.tenant AND p.currency = l.currency
           WHERE coalesce(l.minor, 0) <> coalesce(p.minor, 0)""",
        "SELECT count(*) FROM payment WHERE unapplied_minor > 0",
    ),
}

"""What must hold between the ledger and all else: postings are totals of documents, and receivables what is due."""

from __future__ import annotations

_ISSUED = "('finalized', 'paid', 'void', 'uncollectible')"

# Name → what is wrong, and how many things were looked at.
LEDGER_CHECKS: dict[str, tuple[str, str]] = {
    # Both ways: also a set that no issued document stands behind. Nothing is posted of a deposit that is asked for.
    "ledger_has_each_invoice": (
        f"""SELECT coalesce(i.id, e.invoice_id) AS id, i.total_minor, e.owed_minor, i.tax_minor,
                   e.tax_minor AS posted_tax_minor, i.net_minor, e.net_minor AS posted_net_minor
            FROM (SELECT * FROM invoice WHERE status IN {_ISSUED} AND document_kind <> 'deposit') AS i
            FULL JOIN (
                SELECT tenant, invoice_id,
                       sum(CASE account WHEN 'accounts_receivable' THEN amount_minor ELSE 0 END) AS owed_minor,
                       -sum(CASE account WHEN 'tax_payable' THEN amount_minor ELSE 0 END) AS tax_minor,
                       -sum(CASE WHEN account IN ('accounts_receivable', 'tax_payable') THEN 0
                                 ELSE amount_minor END) AS net_minor
                FROM ledger_entry WHERE posting_key = 'invoice\\:' || invoice_id || '\\:final'
                GROUP BY tenant, invoice_id
            ) AS e ON e.invoice_id = i.id AND e.tenant = i.tenant
            WHERE i.id IS NULL OR (i.total_minor, i.tax_minor, i.net_minor) IS DISTINCT FROM
                  (coalesce(e.owed_minor, 0)::bigint, coalesce(e.tax_minor, 0)::bigint,
                   coalesce(e.net_minor, 0)::bigint)""",
        f"SELECT count(*) FROM invoice WHERE status IN {_ISSUED}",
    ),
    # Every set is about something that there is: an issued document, a payment that came, a movement by hand.
    "ledger_has_nothing_else": (
        f"""SELECT e.posting_key FROM ledger_entry e
            LEFT JOIN invoice i ON i.id = e.invoice_id AND i.status IN {_ISSUED}
            LEFT JOIN payment_attempt a ON a.id = e.attempt_id AND a.state = 'succeeded'
            LEFT JOIN customer_balance_entry b ON b.id = e.balance_entry_id AND b.kind = 'adjustment'
            WHERE (e.invoice_id IS NOT NULL AND i.id IS NULL) OR (e.attempt_id IS NOT NULL AND a.id IS NULL)
               OR (e.balance_entry_id IS NOT NULL AND b.id IS NULL)
               OR (i.id IS NULL AND b.id IS NULL AND NOT EXISTS (
                   SELECT FROM charge WHERE id = e.source_id UNION ALL SELECT FROM deposit WHERE id = e.source_id
                   UNION ALL SELECT FROM wallet_entry WHERE id = e.source_id
                   UNION ALL SELECT FROM payment WHERE id = e.source_id
                   UNION ALL SELECT FROM refund WHERE id = e.source_id
                   UNION ALL SELECT FROM dispute WHERE id = e.source_id AND fee_minor IS NOT NULL))""",
        "SELECT count(*) FROM ledger_entry",
    ),
    # What is still to be delivered is earned, or taken back, by the end of its schedule: of all time, nothing is left.
    "contract_liabilities_are_earned": (
        """SELECT tenant, invoice_id, currency, -sum(amount_minor) AS left_minor FROM ledger_entry
           WHERE account = 'contract_liability' GROUP BY tenant, invoice_id, currency HAVING sum(amount_minor) <> 0""",
        "SELECT count(DISTINCT invoice_id) FROM ledger_entry WHERE account = 'contract_liability'",
    ),
    # The control account is the sum of the open items, document by document.
    "receivables_are_open_items": (
        """SELECT coalesce(i.id, e.invoice_id) AS invoice, i.status, i.due_minor, e.owed_minor
           FROM (SELECT *, CASE WHEN status <> 'finalized' OR document_kind = 'deposit' THEN 0
                           ELSE total_minor - credits_applied_minor - balance_applied_minor - paid_minor - credited_minor
                           END AS due_minor FROM invoice) AS i
           FULL JOIN (SELECT tenant, invoice_id, sum(amount_minor) AS owed_minor FROM ledger_entry
                      WHERE account = 'accounts_receivable' GROUP BY tenant, invoice_id) AS e
                ON e.invoice_id = i.id AND e.tenant = i.tenant
           WHERE coalesce(i.due_minor, 0) <> coalesce(e.owed_minor, 0) OR (i.id IS NULL AND e.owed_minor <> 0)""",
        "SELECT count(*) FROM invoice",
    ),
    "accruals_are_reversed": (
        f"""SELECT c.id, i.number, sum(e.amount_minor) AS left_minor FROM ledger_entry e
            LEFT JOIN charge c ON c.id = e.source_id AND c.tenant = e.tenant
            LEFT JOIN invoice i ON i.id = c.invoice_id AND i.tenant = c.tenant AND i.status IN {_ISSUED}
            WHERE e.account = 'contract_asset' AND (i.id IS NOT NULL OR c.id IS NULL)
            GROUP BY c.id, i.number HAVING sum(e.amount_minor) <> 0""",
        "SELECT count(*) FROM ledger_entry WHERE account = 'contract_asset'",
    ),
    # A set stands in the books of one date, and is about one thing.
    "ledger_sets_are_of_one_date": (
        """SELECT posting_key FROM ledger_entry GROUP BY tenant, posting_key
           HAVING count(DISTINCT (posted_on, posted_at)) > 1 OR count(DISTINCT account) < count(*)
               OR min(ordinal) <> 0 OR max(ordinal) <> count(*) - 1""",
        "SELECT count(DISTINCT posting_key) FROM ledger_entry",
    ),
}

"""What must hold of credit notes, deposits and voided invoices: each check names what is wrong."""

# Name → what is wrong, and how many things were looked at.
CREDIT_NOTE_CHECKS: dict[str, tuple[str, str]] = {
    "credits_are_within_billed": (
        """SELECT l.invoice_id, l.id AS line, l.net_minor, sum(c.net_minor) AS credited_minor
           FROM credit_note_line c LEFT JOIN invoice_line l ON l.id = c.invoice_line_id AND l.tenant = c.tenant
           GROUP BY l.invoice_id, l.id, l.net_minor
           HAVING l.id IS NULL OR sum(c.net_minor) NOT BETWEEN least(l.net_minor, 0) AND greatest(l.net_minor, 0)
           UNION ALL
           SELECT i.id, NULL, i.total_minor, sum(n.total_minor)
           FROM credit_note n LEFT JOIN invoice i ON i.id = n.invoice_id AND i.tenant = n.tenant
           GROUP BY i.id, i.total_minor HAVING i.id IS NULL OR sum(n.total_minor) > i.total_minor""",
        "SELECT count(*) FROM credit_note",
    ),
    "credit_notes_are_their_lines": (
        """SELECT n.id, n.net_minor, n.tax_minor, l.net_minor AS lines_minor, t.net_minor AS taxable_minor,
                  t.tax_minor AS taxes_minor
           FROM credit_note n
           CROSS JOIN LATERAL (SELECT coalesce(sum(net_minor), 0) AS net_minor FROM credit_note_line l
                               WHERE l.tenant = n.tenant AND l.credit_note_id = n.id) AS l
           CROSS JOIN LATERAL (SELECT coalesce(sum(net_minor), 0) AS net_minor,
                                      coalesce(sum(tax_minor), 0) AS tax_minor
                               FROM jsonb_to_recordset(n.taxes) AS t(net_minor bigint, tax_minor bigint)) AS t
           WHERE (n.net_minor, n.net_minor, n.tax_minor)
                 IS DISTINCT FROM (l.net_minor::bigint, t.net_minor::bigint, t.tax_minor::bigint)""",
        "SELECT count(*) FROM credit_note",
    ),
    "credits_reach_where_they_go": (
        """SELECT i.id, i.credited_minor, n.to_invoice_minor FROM invoice i
           CROSS JOIN LATERAL (SELECT coalesce(sum(to_invoice_minor), 0) AS to_invoice_minor FROM credit_note n
                               WHERE n.tenant = i.tenant AND n.invoice_id = i.id) AS n
           WHERE i.credited_minor <> n.to_invoice_minor
           UNION ALL
           SELECT n.id, n.to_balance_minor, coalesce(e.amount_minor, 0) FROM credit_note n
           LEFT JOIN customer_balance_entry e ON e.credit_note_id = n.id AND e.tenant = n.tenant
           WHERE n.to_balance_minor <> coalesce(e.amount_minor, 0)
           UNION ALL
           SELECT n.id, n.to_refund_minor, r.amount_minor FROM credit_note n
           CROSS JOIN LATERAL (SELECT coalesce(sum(amount_minor), 0) AS amount_minor FROM refund r
                               WHERE r.tenant = n.tenant AND r.credit_note_id = n.id) AS r
           WHERE n.to_refund_minor <> r.amount_minor""",
        "SELECT count(*) FROM credit_note",
    ),
    "ledger_has_each_credit_note": (
        """SELECT coalesce(n.id, e.source_id) AS note, e.receivable, e.balance, e.refund FROM credit_note n
           FULL JOIN (
               SELECT tenant, source_id, posting_key,
                      -coalesce(sum(amount_minor) FILTER (WHERE account = 'accounts_receivable'), 0) AS receivable,
                      -coalesce(sum(amount_minor) FILTER (WHERE account = 'customer_credit'), 0) AS balance,
                      -coalesce(sum(amount_minor) FILTER (WHERE account = 'refunds_payable'), 0) AS refund
               FROM ledger_entry WHERE posting_key LIKE 'credit_note:%\\:issued'
               GROUP BY tenant, source_id, posting_key
           ) AS e ON e.source_id = n.id AND e.tenant = n.tenant
           WHERE (n.to_invoice_minor, n.to_balance_minor, n.to_refund_minor)
                 IS DISTINCT FROM (e.receivable::bigint, e.balance::bigint, e.refund::bigint)""",
        "SELECT count(*) FROM credit_note",
    ),
    # What was never paid is no liability; of what was, the ledger owes what remains, or what came so far.
    "deposits_are_their_postings": (
        """SELECT d.id, d.state, d.collected_minor, d.applied_minor, d.released_minor, owed.minor AS owed_minor,
                  given.minor AS refunded_minor
           FROM deposit d
           CROSS JOIN LATERAL (SELECT -coalesce(sum(e.amount_minor), 0) AS minor FROM ledger_entry e
                               WHERE e.tenant = d.tenant AND e.account = 'deposit_liability'
                                 AND (e.source_id = d.id OR e.invoice_id = d.invoice_id)) AS owed
           CROSS JOIN LATERAL (SELECT coalesce(sum(r.amount_minor), 0) AS minor FROM refund r
                               WHERE r.tenant = d.tenant AND r.deposit_id = d.id) AS given
           LEFT JOIN invoice i ON i.id = d.invoice_id AND i.tenant = d.tenant AND d.state = 'requested'
           WHERE (d.collected_minor - d.applied_minor - d.released_minor) + coalesce(i.paid_minor, 0) <> owed.minor
              OR d.released_minor <> given.minor
              OR (d.state IN ('requested', 'held', 'canceled') AND d.collected_minor <> 0)
              OR (d.state = 'collected') <> (d.collected_minor > d.applied_minor + d.released_minor)""",
        "SELECT count(*) FROM deposit",
    ),
    "voided_invoices_hold_nothing": (
        """SELECT i.id, i.number, c.id AS charge, e.minor AS owed_minor FROM invoice i
           LEFT JOIN charge c ON c.invoice_id = i.id AND c.tenant = i.tenant
           CROSS JOIN LATERAL (SELECT coalesce(sum(amount_minor), 0) AS minor FROM ledger_entry e
                               WHERE e.tenant = i.tenant AND e.invoice_id = i.id
                                 AND e.account IN ('accounts_receivable', 'contract_liability', 'revenue',
                                                   'tax_payable', 'customer_credit')
                                 AND e.posting_key LIKE 'invoice:%'
                               GROUP BY e.account HAVING sum(amount_minor) <> 0 LIMIT 1) AS e
           WHERE i.status = 'void'
           UNION ALL
           SELECT i.id, i.number, c.id, NULL FROM invoice i JOIN charge c ON c.invoice_id = i.id AND c.tenant = i.tenant
           WHERE i.status = 'void'""",
        "SELECT count(*) FROM invoice WHERE status = 'void'",
    ),
    # What stood on a voided document waits for the next of its subscription. Where that has ended there is none: the
    # document is to be issued again, or its charges are billed by nobody.
    "freed_charges_have_a_document_ahead": (
        """SELECT c.id, c.subscription_id, c.freed_from_id AS reissue FROM charge c
           JOIN agreement a ON a.id = c.subscription_id AND a.tenant = c.tenant
           JOIN invoice v ON v.id = c.freed_from_id AND v.tenant = c.tenant
           LEFT JOIN known_clock k ON k.id = a.clock_id
           WHERE c.invoice_id IS NULL
             AND (a.snapshot->>'ends_at')::timestamptz
                 <= CASE WHEN a.clock_id IS NULL THEN clock_timestamp() ELSE k.now END""",
        "SELECT count(*) FROM charge WHERE freed_from_id IS NOT NULL AND invoice_id IS NULL",
    ),
}

"""What must hold of coupons and prepaid credits: against their own movements, against documents, against the ledger."""

from __future__ import annotations

_OVERDUE_S = 60

# Name → what is wrong, and how many things were looked at.
CREDIT_CHECKS: dict[str, tuple[str, str]] = {
    "wallets_are_their_entries": (
        """SELECT w.id, w.balance, e.sum_amount, e.highest, g.left_amount
           FROM wallet w
           LEFT JOIN (SELECT wallet_id, sum(amount) AS sum_amount, max(ordinal) AS highest, count(*) AS entry_count,
                             bool_and(after = running) AS each_is
                      FROM (SELECT *, sum(amount) OVER (PARTITION BY wallet_id ORDER BY ordinal) AS running
                            FROM wallet_entry) AS told GROUP BY wallet_id) AS e ON e.wallet_id = w.id
           LEFT JOIN (SELECT wallet_id, sum(remaining) AS left_amount FROM wallet_grant GROUP BY wallet_id) AS g
                ON g.wallet_id = w.id
           WHERE (w.balance, w.balance, w.entry_count, coalesce(e.entry_count, 0), coalesce(e.each_is, true))
                 IS DISTINCT FROM (coalesce(e.sum_amount, 0), coalesce(g.left_amount, 0), coalesce(e.highest, 0),
                                   w.entry_count::bigint, true)""",
        "SELECT count(*) FROM wallet",
    ),
    "grants_are_their_entries": (
        """SELECT coalesce(g.id, e.grant_id) AS grant, g.remaining, e.sum_amount, g.cost_left_minor, e.cost_minor
           FROM wallet_grant g FULL JOIN (SELECT grant_id, wallet_id, sum(amount) AS sum_amount,
                                                 sum(cost_minor) AS cost_minor
                                          FROM wallet_entry GROUP BY grant_id, wallet_id) AS e
                ON e.grant_id = g.id AND e.wallet_id = g.wallet_id
           WHERE (g.remaining, g.cost_left_minor) IS DISTINCT FROM (e.sum_amount, e.cost_minor::bigint)""",
        "SELECT count(*) FROM wallet_grant",
    ),
    # What is owed to customers for credits: what was paid for what is left, and what is sold and not granted yet.
    "ledger_has_what_is_prepaid": (
        """SELECT coalesce(l.tenant, k.tenant) AS tenant, coalesce(l.currency, k.currency) AS currency,
                  l.owed_minor, k.prepaid_minor
           FROM (SELECT tenant, currency, -sum(amount_minor) AS owed_minor FROM ledger_entry
                 WHERE account = 'prepaid_credits' GROUP BY tenant, currency) AS l
           FULL JOIN (SELECT tenant, currency, sum(minor) AS prepaid_minor FROM (
                          SELECT tenant, currency, cost_left_minor AS minor FROM wallet_grant
                          UNION ALL
                          SELECT t.tenant, t.currency, i.net_minor FROM wallet_top_up t
                          JOIN invoice i ON i.id = t.invoice_id AND i.status IN ('finalized', 'paid', 'uncollectible')
                          WHERE t.state = 'open') AS owed GROUP BY tenant, currency) AS k
                ON k.tenant = l.tenant AND k.currency = l.currency
           WHERE coalesce(l.owed_minor, 0) <> coalesce(k.prepaid_minor, 0)""",
        "SELECT count(*) FROM ledger_entry WHERE account = 'prepaid_credits'",
    ),
    "credits_are_drawn_as_invoices_say": (
        """SELECT coalesce(i.id, e.invoice_id) AS invoice, i.status, i.credits_applied_minor, i.prepaid_minor,
                  e.money_minor, e.units_minor
           FROM (SELECT id, status, CASE WHEN status = 'void' THEN 0 ELSE credits_applied_minor END
                                        AS credits_applied_minor,
                        CASE WHEN status = 'void' THEN 0 ELSE prepaid_minor END AS prepaid_minor
                 FROM invoice WHERE (credits_applied_minor <> 0 OR prepaid_minor <> 0)
                                AND status NOT IN ('draft', 'skipped', 'gathered')) AS i
           FULL JOIN (SELECT e.invoice_id,
                             sum(CASE WHEN w.unit IS NULL THEN e.paid_minor ELSE 0 END) AS money_minor,
                             sum(CASE WHEN w.unit IS NULL THEN 0 ELSE e.paid_minor END) AS units_minor
                      FROM wallet_entry e JOIN wallet w ON w.id = e.wallet_id
                      WHERE e.invoice_id IS NOT NULL GROUP BY e.invoice_id) AS e ON e.invoice_id = i.id
           WHERE (coalesce(i.credits_applied_minor, 0), coalesce(i.prepaid_minor, 0))
                 <> (coalesce(e.money_minor, 0), coalesce(e.units_minor, 0))""",
        "SELECT count(*) FROM wallet_entry WHERE invoice_id IS NOT NULL",
    ),
    # A top-up is granted once, and for what its invoice asks.
    "top_ups_are_granted_once": (
        """SELECT t.id, t.state, i.status, i.net_minor, g.cost_minor
           FROM wallet_top_up t LEFT JOIN invoice i ON i.id = t.invoice_id
           LEFT JOIN wallet_grant g ON g.top_up_id = t.id
           WHERE i.id IS NULL OR (t.state = 'granted') <> (g.id IS NOT NULL AND t.state <> 'void')
              OR (t.state = 'granted' AND (g.cost_minor <> i.net_minor OR g.amount <> t.amount))
              OR (t.state = 'open' AND i.status IN ('paid', 'void'))""",
        "SELECT count(*) FROM wallet_top_up",
    ),
    "coupons_are_used_as_invoices_say": (
        """WITH said AS (
               SELECT i.id AS invoice_id, d->'coupon'->>'redemption_id' AS redemption_id,
                      sum(CASE WHEN i.status = 'void' THEN 0 ELSE (d->>'amount_minor')::bigint END) AS minor
               FROM invoice i CROSS JOIN LATERAL jsonb_array_elements(i.discounts) AS d
               WHERE i.status NOT IN ('draft', 'skipped', 'gathered') AND d->'coupon'->>'redemption_id' IS NOT NULL
               GROUP BY 1, 2
           ), used AS (
               SELECT invoice_id, redemption_id, sum(amount_minor) AS minor FROM coupon_use GROUP BY 1, 2
           )
           SELECT coalesce(said.invoice_id, used.invoice_id) AS invoice,
                  coalesce(said.redemption_id, used.redemption_id) AS redemption,
                  said.minor AS said_minor, used.minor AS used_minor
           FROM said FULL JOIN used USING (invoice_id, redemption_id)
           WHERE coalesce(said.minor, 0) <> coalesce(used.minor, 0)
           UNION ALL
           SELECT NULL, r.id, r.used_minor, u.minor FROM coupon_redemption r
           LEFT JOIN (SELECT redemption_id, sum(amount_minor) AS minor,
                             sum(CASE kind WHEN 'used' THEN 1 ELSE -1 END) AS use_count
                      FROM coupon_use GROUP BY redemption_id) AS u ON u.redemption_id = r.id
           WHERE (r.used_minor, r.used_count) <> (coalesce(u.minor, 0), coalesce(u.use_count, 0))""",
        "SELECT count(*) FROM coupon_redemption",
    ),
    "amounts_of_coupons_are_used_once": (
        """SELECT id, used_minor, coupon FROM coupon_redemption
           WHERE coupon->>'duration' = 'once' AND jsonb_typeof(coupon->'amount') = 'array'
             AND used_minor > (coupon->'amount'->>0)::bigint""",
        "SELECT count(*) FROM coupon_redemption",
    ),
    "wallets_are_not_overdue": (
        f"""SELECT w.id, w.due_at, w.last_error FROM wallet w LEFT JOIN known_clock k ON k.id = w.clock_id
            WHERE w.due_at IS NOT NULL
              AND CASE WHEN w.clock_id IS NULL
                       THEN w.due_at < clock_timestamp() - interval '{_OVERDUE_S} s'
                       ELSE w.due_at < k.now AND k.now IS NOT NULL END""",
        "SELECT count(*) FROM wallet WHERE due_at IS NOT NULL",
    ),
}

"""Whether what waits to be gathered, or for a billing run, is waited for by somebody."""

from __future__ import annotations

OVERDUE_S = 60

GATHERING_CHECKS: dict[str, tuple[str, str]] = {
    # What a part held stands on the document that it names, which names its subscription.
    "parts_are_gathered_somewhere": (
        """SELECT p.id, p.gathered_into, p.subscription_id FROM invoice p
           LEFT JOIN invoice g ON g.id = p.gathered_into AND g.tenant = p.tenant AND g.customer_id = p.customer_id
                AND g.currency = p.currency AND g.subscription_ids ? p.subscription_id
           WHERE p.status = 'gathered' AND (g.id IS NULL OR EXISTS (SELECT FROM charge c WHERE c.invoice_id = p.id))""",
        "SELECT count(*) FROM invoice WHERE status = 'gathered'",
    ),
    "what_is_held_is_held_by_somebody": (
        f"""SELECT i.id, i.held_for, i.boundary_at FROM invoice i LEFT JOIN known_clock k ON k.id = i.clock_id
            WHERE i.status = 'draft' AND i.held_for = 'gathering'
              AND (i.due_at IS NULL OR CASE WHEN i.clock_id IS NULL
                       THEN i.due_at < clock_timestamp() - interval '{OVERDUE_S} s'
                       ELSE i.due_at < k.now AND k.now IS NOT NULL END)""",
        "SELECT count(*) FROM invoice WHERE status = 'draft' AND held_for IS NOT NULL",
    ),
    # Of a run that is over, nothing is held; of one that is not, something is due, or a person is asked.
    "billing_runs_go_on": (
        f"""SELECT r.id, r.state, r.due_at FROM billing_run r
            WHERE CASE WHEN r.state IN ('finished', 'rejected', 'awaiting_approval')
                       THEN r.state <> 'awaiting_approval'
                            AND EXISTS (SELECT FROM billing_run_document d WHERE d.run_id = r.id AND d.holds)
                       ELSE coalesce(r.due_at, (SELECT min(d.due_at) FROM billing_run_document d
                                                WHERE d.run_id = r.id), '-infinity')
                            < clock_timestamp() - interval '{OVERDUE_S} s' END""",
        "SELECT count(*) FROM billing_run",
    ),
}

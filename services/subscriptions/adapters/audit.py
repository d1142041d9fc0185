"""What must hold in subscriptions, looked at once more: periods tile, segments and bindings do not overlap."""

from __future__ import annotations

from typing import Any

from libs.common.persistence.audit import (
    AuditReport,
    common_checks,
    count_facts,
    digests_of,
    open_audit,
    run_check,
)
from libs.common.persistence.session import Database
from services.subscriptions.adapters import revenue_audit
from services.subscriptions.domain.lifecycle import RUNNING

OVERDUE_S = 60
_RUNNING = ", ".join(f"'{state}'" for state in sorted(RUNNING))

_CHECKS: dict[str, tuple[str, str]] = {
    "periods_tile": (
        """SELECT subscription_id, index, start_at, previous_end_at FROM (
               SELECT subscription_id, index, start_at, start_on,
                      lag(index) OVER w AS previous_index,
                      lag(end_at) OVER w AS previous_end_at, lag(end_on) OVER w AS previous_end_on
               FROM billing_period WINDOW w AS (PARTITION BY subscription_id ORDER BY index)
           ) AS period
           WHERE index <> coalesce(previous_index + 1, 0)
              OR start_at <> previous_end_at OR start_on <> previous_end_on""",
        "SELECT count(*) FROM billing_period",
    ),
    "first_period_starts_at_the_start": (
        """SELECT subscription.id, starts_at, start_at
           FROM subscription JOIN billing_period ON subscription_id = subscription.id AND index = 0
           WHERE start_at <> starts_at""",
        "SELECT count(*) FROM billing_period WHERE index = 0",
    ),
    "last_period_is_the_current_or_holds_the_end": (
        """SELECT subscription.id, state, period_index, index, period_start, start_at, period_end, end_at
           FROM subscription LEFT JOIN LATERAL (
               SELECT * FROM billing_period WHERE subscription_id = subscription.id ORDER BY index DESC LIMIT 1
           ) AS last ON true
           WHERE index IS DISTINCT FROM period_index OR start_at IS DISTINCT FROM period_start
              OR CASE WHEN state = 'ended' THEN period_end <> ended_at OR period_end > end_at
                      ELSE period_end IS DISTINCT FROM end_at END""",
        "SELECT count(*) FROM subscription",
    ),
    "bindings_do_not_overlap": (
        """SELECT id, meter, subject, bound_from, bound_until, next_from FROM (
               SELECT id, meter, subject, bound_from, bound_until, lead(bound_from) OVER (
                   PARTITION BY tenant, meter, subject ORDER BY bound_from
               ) AS next_from
               FROM subject_binding WHERE bound_until IS NULL OR bound_from < bound_until
           ) AS binding
           WHERE coalesce(bound_until, 'infinity') > next_from""",
        "SELECT count(*) FROM subject_binding",
    ),
    "bindings_end_with_their_subscription": (
        """SELECT binding.id, subscription_id, bound_until, ended_at
           FROM subject_binding AS binding JOIN subscription ON subscription.id = subscription_id
           WHERE state IN ('ended', 'canceled')
             AND coalesce(bound_until, 'infinity') > greatest(ended_at, bound_from)""",
        "SELECT count(*) FROM subject_binding",
    ),
    "bindings_fit_their_item": (
        """SELECT binding.id, binding.item_id FROM subject_binding AS binding
           LEFT JOIN subscription_item AS item ON item.id = binding.item_id
           WHERE item.id IS NULL OR item.tenant <> binding.tenant
              OR item.subscription_id <> binding.subscription_id OR item.meter IS DISTINCT FROM binding.meter""",
        "SELECT count(*) FROM subject_binding",
    ),
    # A clock on its way has things due by design; the move itself waits for them.
    "nothing_is_overdue": (
        f"""SELECT subscription.id, due_at, now, attempts, last_error FROM (
                SELECT id, due_at, clock_id, attempts, last_error, clock_timestamp() AS now
                FROM subscription WHERE clock_id IS NULL
                UNION ALL
                SELECT subscription.id, due_at, clock_id, attempts, last_error, test_clock.now
                FROM subscription JOIN test_clock ON test_clock.id = clock_id
                WHERE NOT EXISTS (
                    SELECT FROM clock_move WHERE clock_move.clock_id = test_clock.id AND state = 'moving'
                )
            ) AS subscription
            WHERE due_at < now - interval '{OVERDUE_S} s'""",
        "SELECT count(*) FROM subscription WHERE due_at IS NOT NULL",
    ),
    "items_belong_to_a_subscription": (
        """SELECT item.id, item.subscription_id FROM subscription_item AS item
           LEFT JOIN subscription ON subscription.id = item.subscription_id
               AND subscription.tenant = item.tenant
           WHERE subscription.id IS NULL""",
        "SELECT count(*) FROM subscription_item",
    ),
    # By these the scheduler finds them: what is not counted would wait for ever.
    "waiting_changes_are_counted": (
        """SELECT subscription.id, next_change_at, boundary_changes, first_at, at_end
           FROM subscription LEFT JOIN (
               SELECT subscription_id, min(at) AS first_at, count(*) FILTER (WHERE at IS NULL) AS at_end
               FROM subscription_change WHERE status = 'scheduled' GROUP BY subscription_id
           ) AS waiting ON waiting.subscription_id = subscription.id
           WHERE next_change_at IS DISTINCT FROM first_at OR boundary_changes <> coalesce(at_end, 0)""",
        "SELECT count(*) FROM subscription_change WHERE status = 'scheduled'",
    ),
    "plan_moves_say_what_became_of_each": (
        """SELECT plan_move.id, found_count, moved_count + scheduled_count + unchanged_count + refused_count AS told,
                  count(result.id) AS kept
           FROM plan_move LEFT JOIN plan_move_result AS result ON result.plan_move_id = plan_move.id
           GROUP BY plan_move.id
           HAVING found_count <> count(result.id)
               OR found_count <> moved_count + scheduled_count + unchanged_count + refused_count""",
        "SELECT count(*) FROM plan_move",
    ),
    # What has an end of its own is over by then; of what is charged once, the same item may be there twice.
    "segments_of_an_item_do_not_overlap": (
        """SELECT subscription_id, ordinal, item_id, start_at, end_at, next_start FROM (
               SELECT subscription_id, ordinal, item_id, start_at, end_at, lead(start_at) OVER (
                   PARTITION BY subscription_id, item_id ORDER BY start_at, end_at NULLS LAST, ordinal
               ) AS next_start
               FROM item_segment WHERE kind <> 'one_time' AND (end_at IS NULL OR start_at < end_at)
           ) AS segment
           WHERE coalesce(end_at, 'infinity') > next_start""",
        "SELECT count(*) FROM item_segment",
    ),
    "dunning_is_what_the_invoices_say": (
        f"""SELECT subscription.id, state, dunning, said FROM subscription CROSS JOIN LATERAL (
                SELECT CASE WHEN bool_or(standing IN ('given_up', 'never_paid')) THEN 'suspended'
                            WHEN bool_or(standing = 'overdue') THEN 'past_due' ELSE 'none' END AS said
                FROM subscription_invoice WHERE subscription_id = subscription.id
            ) AS invoices
            WHERE state IN ({_RUNNING}) AND dunning <> said""",
        f"SELECT count(*) FROM subscription WHERE state IN ({_RUNNING})",
    ),
    # The order is that of `standing_of`: what weighs most comes first.
    "state_is_what_its_facts_make_it": (
        f"""SELECT id, state, made FROM (
                SELECT id, state, CASE
                    WHEN pauses -> -1 ->> 'status' = 'running' THEN 'paused'
                    WHEN dunning <> 'none' THEN dunning
                    WHEN period_more ->> 'kind' = 'trial' THEN 'trialing'
                    WHEN cancels_at IS NOT NULL THEN 'ending'
                    ELSE 'active' END AS made
                FROM subscription WHERE state IN ({_RUNNING})
            ) AS running
            WHERE state <> made""",
        f"SELECT count(*) FROM subscription WHERE state IN ({_RUNNING})",
    ),
}
_FACTS = {
    "customer_count": "SELECT count(*) FROM customer",
    "subscription_count": "SELECT count(*) FROM subscription",
    "billing_period_count": "SELECT count(*) FROM billing_period",
    "subject_binding_count": "SELECT count(*) FROM subject_binding",
}

# Every instant at which billing owes a document, or a reason for none. Billing lists what it has in the same words.
LISTINGS = {
    "boundaries": """
        SELECT DISTINCT subscription_id AS subject,
               subscription_id || to_char(at AT TIME ZONE 'UTC', ' YYYY-MM-DD"T"HH24\\:MI\\:SS.US"Z"') AS told
        FROM (
            SELECT subscription_id, start_at AS at FROM billing_period
            UNION ALL
            SELECT id, ended_at FROM subscription WHERE state = 'ended'
        ) AS boundary"""
}


async def audit_subscriptions(database: Database) -> AuditReport:
    """All tenants, in one snapshot. `database` logs in as the audit role.

    `boundaries` among the facts are the digests of that listing.
    """
    async with open_audit(database) as connection:
        checks = [
            await run_check(connection, name, problems, count) for name, (problems, count) in _CHECKS.items()
        ]
        checks += [
            await run_check(connection, name, problems, count)
            for name, (problems, count) in revenue_audit.CHECKS.items()
        ]
        checks.append(await revenue_audit.check_revenue(connection))
        checks += await common_checks(connection)
        facts: dict[str, Any] = {
            **await count_facts(connection, _FACTS),
            "boundaries": await digests_of(connection, LISTINGS["boundaries"]),
        }
        return AuditReport(service="subscriptions", checks=tuple(checks), facts=facts)

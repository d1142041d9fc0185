"""Usage as the audit looks at it: what was charged for each window against what was counted in it."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.audit import AuditCheck, check_of
from services.billing.adapters import mapping, rows
from services.billing.domain.charge import Charge
from services.billing.domain.pooled_allowance import wrong_pools
from services.billing.domain.usage_difference import billed_lines

_TOLD = "AS told(item_id text, price_id text, quantity numeric, true_ups jsonb)"

# What a window closed with, and the differences of what is to be billed of its corrections. A correction without a
# `before` stands for all until it. No total falls below zero, unless a reading put estimates of before it right.
USAGE_IS_BILLED_AS_COUNTED = f"""
    WITH standing AS (
        SELECT c.* FROM corrected_window c WHERE c.is_billable AND NOT EXISTS (
            SELECT FROM corrected_window l WHERE l.id = c.id AND l.before IS NULL AND l.revision > c.revision)
    ), told AS (
        SELECT w.id, item_id, price_id, quantity, true_ups
        FROM closed_window w CROSS JOIN LATERAL jsonb_to_recordset(w.totals) {_TOLD}
        UNION ALL
        SELECT s.id, item_id, price_id, quantity, true_ups
        FROM standing s CROSS JOIN LATERAL jsonb_to_recordset(s.totals) {_TOLD}
        UNION ALL
        SELECT s.id, item_id, price_id, -quantity, NULL FROM standing s LEFT JOIN closed_window w USING (id)
        CROSS JOIN LATERAL jsonb_to_recordset(coalesce(s.before, w.totals)) {_TOLD}
    ), by_price AS (
        SELECT id, item_id, sum(quantity) AS quantity,
               coalesce(bool_or(jsonb_array_length(true_ups) > 0), false) AS has_true_ups
        FROM told GROUP BY id, item_id, price_id
    ), counted AS (
        SELECT id, item_id, bool_or(has_true_ups) AS has_true_ups,
               sum(CASE WHEN has_true_ups THEN quantity ELSE greatest(quantity, 0) END) AS quantity
        FROM by_price GROUP BY id, item_id
    ), charged AS (
        SELECT subscription_id, period_index, item_id, bool_or(is_end) AS has_ended,
               sum(quantity - coalesce(quantity_before, 0)) AS quantity,
               bool_or(usage_window_id IS NOT NULL) AS has_closed
        FROM charge WHERE kind = 'usage' GROUP BY subscription_id, period_index, item_id
    ), windows AS (
        SELECT w.id, w.subscription_id, w.period_index FROM closed_window w WHERE EXISTS (
            SELECT FROM charge c WHERE c.tenant = w.tenant AND c.subscription_id = w.subscription_id
            AND c.period_index = w.period_index AND c.kind = 'usage' AND c.usage_window_id IS NOT NULL)
    )
    SELECT w.id, w.subscription_id, w.period_index, o.item_id, o.quantity AS counted, c.quantity AS charged
    FROM windows w JOIN counted o ON o.id = w.id
    LEFT JOIN charged c ON c.subscription_id = w.subscription_id AND c.period_index = w.period_index
                       AND c.item_id = o.item_id
    WHERE coalesce(c.quantity, 0) <> o.quantity
      AND NOT (coalesce(c.quantity, 0) = 0 AND (o.quantity < 0 AND o.has_true_ups OR coalesce(c.has_ended, false)))
"""
COUNT_OF_WINDOWS = "SELECT count(*) FROM closed_window"


async def pools_go_on(connection: AsyncConnection) -> AuditCheck:
    """What a pooled allowance has been drawn on is what the charges before it used."""
    table = rows.charge
    is_pooled = (table.c.kind == "usage") & table.c.allowance.has_key("pool")
    found = await connection.stream(select(table).where(is_pooled))
    charged: dict[tuple[str, str, str], list[Charge]] = defaultdict(list)
    async for row in found.mappings():
        charge = mapping.charge_from_row(row)
        charged[row["tenant"], charge.item_id, charge.price.id].append(charge)
    return check_of(
        "pools_go_on_from_charges",
        checked_count=sum(len(charges) for charges in charged.values()),
        problems=[
            f"charge={id}, its pool does not go on from the charges before it"
            for charges in charged.values()
            for id in wrong_pools(charges)
        ],
    )


async def corrections_go_on(connection: AsyncConnection) -> AuditCheck:
    """What a correction says was charged before it is what the charges before it come to, line by line.

    With that, and each charge rated again, all of them together come to the newest rating.
    """
    problems: list[str] = []
    table = rows.charge
    of_price = [table.c.tenant, table.c.item_id, table.c.price_id, table.c.period_index]
    corrected = (
        select(*of_price).where(table.c.kind == "usage", table.c.billed_before.is_not(None)).distinct()
    )
    known = corrected.subquery()
    same = [column == known.c[column.name] for column in of_price]
    found = await connection.stream(
        select(table).join(known, same[0] & same[1] & same[2] & same[3]).where(table.c.kind == "usage")
    )
    charged: dict[tuple[str, str, int], list[Charge]] = defaultdict(list)
    async for row in found.mappings():
        charge = mapping.charge_from_row(row)
        charged[charge.item_id, charge.price.id, charge.period_index].append(charge)
    for charges in charged.values():
        charges.sort(key=lambda charge: charge.revision)
        for place, charge in enumerate(charges):
            told = {line.key: line.amount for line in charge.billed_before or ()}
            if told != {line.key: line.amount for line in billed_lines(charges[:place])}:
                problems.append(f"charge={charge.id}, it does not go on from the charges before it")
    return check_of(
        "corrections_go_on_from_charges",
        checked_count=sum(len(charges) for charges in charged.values()),
        problems=problems,
    )

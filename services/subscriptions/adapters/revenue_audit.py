"""Whether the movements of recurring revenue are what the agreements, as they are known now, make of each day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from libs.common.periods import Interval
from libs.common.persistence.audit import PROBLEMS_SHOWN_MAX, AuditCheck, check_of, tell_progress
from libs.common.persistence.base import is_among
from services.subscriptions.adapters import mapping, rows
from services.subscriptions.adapters.revenue_rows import revenue_fill, revenue_movement
from services.subscriptions.application.agreed_terms import fee_price
from services.subscriptions.domain.recurring_revenue import (
    Mark,
    PriceKey,
    RecurringPrice,
    Stretch,
    differences,
    key_of,
    marks_of,
    stretches_of,
)
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import ItemSegment

NAME = "revenue_movements_reconcile_on_every_day"
LOOKED_AT_MAX, AT_ONCE = 20_000, 1_000

# All of them by SQL, whatever the prices are: nobody's revenue is below nothing, and of what is over nothing is left.
CHECKS: dict[str, tuple[str, str]] = {
    "nobody_has_revenue_below_nothing": (
        """SELECT subscription_id, currency, on_date, total FROM (
               SELECT subscription_id, currency, on_date, sum(sum(amount)) OVER (
                   PARTITION BY subscription_id, currency ORDER BY on_date
               ) AS total
               FROM revenue_movement
               WHERE subscription_id NOT IN (SELECT id FROM revenue_fill WHERE due_at IS NOT NULL)
               GROUP BY subscription_id, currency, on_date
           ) AS day WHERE total < 0""",
        "SELECT count(*) FROM revenue_movement",
    ),
    "what_is_over_has_no_revenue_left": (
        """SELECT subscription_id, revenue_movement.currency, sum(amount) AS left_over
           FROM revenue_movement JOIN subscription ON subscription.id = subscription_id
           WHERE state IN ('ended', 'canceled')
             AND subscription_id NOT IN (SELECT id FROM revenue_fill WHERE due_at IS NOT NULL)
           GROUP BY subscription_id, revenue_movement.currency HAVING sum(amount) <> 0""",
        "SELECT count(*) FROM subscription WHERE state IN ('ended', 'canceled')",
    ),
}


async def check_revenue(connection: AsyncConnection) -> AuditCheck:
    """All days of all subscriptions, or of a random part of them where they are very many."""
    count = (await connection.execute(text("SELECT count(*) FROM subscription"))).scalar_one()
    prices = _Prices(connection)
    problems: list[str] = []
    looked_at = 0
    async for batch in _batches(connection, count):
        looked_at += len(batch)
        tell_progress(NAME, looked_at, min(count, LOOKED_AT_MAX))
        recorded = await _recorded(connection, [one.id for one in batch])
        known = {one.id: stretches_of(one) for one in batch}
        await prices.load(each for stretches in known.values() for each in stretches)
        for id, stretches in known.items():
            if unknown := {key_of(one.item) for one in stretches} - prices.known.keys():
                problems.append(f"subscription_id={id} unknown_prices={sorted(unknown, key=str)}")
                continue
            for (on, currency, part), amount in differences(
                recorded.get(id, {}), marks_of(stretches, prices.known)
            ).items():
                problems.append(
                    f"subscription_id={id} on={on} currency={currency} part={part} missing={amount}"
                )
    found = check_of(NAME, checked_count=looked_at, problems=problems[:PROBLEMS_SHOWN_MAX])
    return replace(found, problem_count=len(problems))


async def _batches(connection: AsyncConnection, count: int) -> AsyncIterator[list[Subscription]]:
    table, waiting = rows.subscription, revenue_fill.c
    unfilled = select(waiting.id).where(waiting.due_at.is_not(None))
    wanted = select(table.c.id).where(table.c.period_index.is_not(None), table.c.id.not_in(unfilled))
    if count > LOOKED_AT_MAX:
        wanted = wanted.where(func.random() < Decimal(LOOKED_AT_MAX) / count)
    ids = sorted((await connection.execute(wanted)).scalars())
    for start in range(0, len(ids), AT_ONCE):
        yield await _read(connection, ids[start : start + AT_ONCE])


async def _read(connection: AsyncConnection, ids: Sequence[str]) -> list[Subscription]:
    segment, table = rows.item_segment, rows.subscription
    segments: dict[str, list[ItemSegment]] = defaultdict(list)
    found = await connection.execute(
        select(segment)
        .where(is_among(segment.c.subscription_id, ids))
        .order_by(segment.c.subscription_id, segment.c.ordinal)
    )
    for row in found.mappings():
        segments[row["subscription_id"]].append(mapping.segment_from_row(row))
    agreed = (await connection.execute(select(table).where(is_among(table.c.id, ids)))).mappings()
    return [
        replace(mapping.subscription_from_row(row), segments=tuple(segments[row["id"]])) for row in agreed
    ]


async def _recorded(connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, Mapping[Mark, Decimal]]:
    table = revenue_movement.c
    mark = (table.subscription_id, table.on_date, table.currency, table.part)
    statement = (
        select(*mark, func.sum(table.amount).label("amount"))
        .where(is_among(table.subscription_id, ids))
        .group_by(*mark)
    )
    found: dict[str, dict[Mark, Decimal]] = defaultdict(dict)
    for row in await connection.execute(statement):
        found[row.subscription_id][row.on_date, row.currency, row.part] = row.amount
    return found


class _Prices:
    """Each version is read once."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.known: dict[PriceKey, RecurringPrice] = {}

    async def load(self, stretches: Iterable[Stretch]) -> None:
        missing = {key[:2] for key in {key_of(one.item) for one in stretches} - self.known.keys()}
        plans, overlays = rows.known_plan, rows.known_overlay
        versions = {version_id for version_id, overlay_id in missing if overlay_id is None}
        overlaid = {overlay_id for _, overlay_id in missing if overlay_id is not None}
        if versions:
            asked = select(plans.c.id, plans.c.plan).where(is_among(plans.c.id, versions))
            for row in await self._connection.execute(asked):
                self._keep(PlanV1.model_validate(row.plan), row.id, None)
        if overlaid:
            asked = select(overlays.c.id, overlays.c.overlay).where(is_among(overlays.c.id, overlaid))
            for row in await self._connection.execute(asked):
                overlay = PlanOverlayV1.model_validate(row.overlay)
                self._keep(overlay.plan, overlay.plan_version_id, row.id)

    def _keep(self, plan: PlanV1, version_id: str, overlay_id: str | None) -> None:
        billed_each = Interval(plan.interval_unit, plan.interval_count)
        for price in plan.prices:
            if price.kind == "recurring":
                key = version_id, overlay_id, price.id
                self.known[key] = RecurringPrice(fee_price(price, billed_each), price.currency)

"""What a customer's subscriptions grant, in one statement; nothing of it is kept between two questions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from libs.common.contracts.catalog import FeatureGrantV1
from libs.common.periods import Interval
from libs.common.persistence.base import raw
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.domain.billing_period import Calendar
from services.subscriptions.domain.entitlement import FeatureGrant, Granting, TimeSpan
from services.subscriptions.domain.lifecycle import OVER, SubscriptionState

# The plan's version and those of the add-ons that are agreed on now, each once. A customer without subscriptions
# has one row without any.
_FIND = """
    SELECT c.id AS customer_id, s.id, s.state, s.zone, s.anchor_on, s.interval_unit, s.interval_count,
           s.period_start, s.period_end, s.now,
           (SELECT jsonb_agg(p.plan -> 'features') FROM (
                SELECT s.plan_version_id AS id
                UNION
                SELECT g.plan_version_id FROM item_segment g
                WHERE g.subscription_id = s.id AND g.add_on IS NOT NULL
                  AND g.start_at <= s.now AND (g.end_at IS NULL OR g.end_at > s.now)
            ) version JOIN known_plan p USING (id)) AS features
    FROM customer c LEFT JOIN LATERAL (
        SELECT s.*, coalesce(k.now, $2::timestamptz) AS now
        FROM subscription s LEFT JOIN test_clock k ON k.id = s.clock_id
        WHERE s.customer_id = c.id AND s.state <> ALL ($3::text[])
    ) s ON true
    WHERE c.id = $1
    ORDER BY s.created_at, s.id
"""


class EntitlementReads:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find(self, customer_id: str, system_now: datetime) -> Sequence[Granting] | None:
        driver = await raw(self._uow.connection)
        rows = await driver.fetch(_FIND, customer_id, system_now, sorted(OVER))
        return [_granting(row) for row in rows if row["id"] is not None] if rows else None


def _granting(row: Any) -> Granting:
    interval = Interval(row["interval_unit"], row["interval_count"])
    is_begun = row["period_start"] is not None
    return Granting(
        subscription_id=row["id"],
        state=SubscriptionState(row["state"]),
        calendar=Calendar(row["anchor_on"], interval, row["zone"]),
        period=TimeSpan(row["period_start"], row["period_end"]) if is_begun else None,
        now=row["now"],
        grants=tuple(
            _grant(FeatureGrantV1.model_validate(told))
            for version in row["features"] or ()
            for told in version or ()
        ),
    )


def _grant(told: FeatureGrantV1) -> FeatureGrant:
    return FeatureGrant(
        feature_id=told.feature_id,
        code=told.code,
        kind=told.kind,
        limit=told.limit,
        allowance=told.allowance,
        meter=told.meter,
        overage_allowed=told.overage_allowed,
        interval=None if told.interval_unit is None else Interval(told.interval_unit, told.interval_count),
    )

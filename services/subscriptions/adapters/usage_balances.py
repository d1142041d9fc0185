"""What was used in each billing period, as metering told of it: while it is under way, and when its window closed.

Of what is told while it is under way the newest version holds, in whatever order it comes; what is told when the window
closes, or is corrected, holds from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from libs.common.contracts.metering import UsageBalanceUpdatedV1, UsageCorrectedV1, UsageWindowClosedV1
from libs.common.persistence.base import bulk_insert, raw
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.rows import usage_balance
from services.subscriptions.domain.entitlement import Aggregation, UsageBalance, together

# An item that changed its meter within the period counts on the last one.
_UNDER_WAY = """
    ON CONFLICT (item_id, period_index) DO UPDATE SET version = excluded.version, meter = excluded.meter,
        period_start = excluded.period_start, quantity = excluded.quantity, aggregation = excluded.aggregation,
        as_of = excluded.as_of
    WHERE usage_balance.version < excluded.version AND usage_balance.window_version = 0
"""
# The parts of an item at several prices come as each of what they can come to together: the meter knows which.
_CLOSED = """
    INSERT INTO usage_balance AS b (tenant, subscription_id, item_id, meter, period_index, period_start, version,
                                    window_version, quantity, aggregation)
    SELECT $1::uuid, told.subscription_id, told.item_id, told.meter, told.period_index, told.period_start, 0,
           told.window_version,
           CASE WHEN kind.aggregation IN ('max', 'peak') THEN told.greatest
                WHEN kind.aggregation = 'min' THEN told.least
                WHEN kind.aggregation IN ('latest', 'average') THEN told.last ELSE told.total END,
           kind.aggregation
    FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::timestamptz[], $7::int[], $8::numeric[],
                $9::numeric[], $10::numeric[], $11::numeric[])
        AS told(subscription_id, item_id, meter, period_index, period_start, window_version, total, greatest, least, last)
    LEFT JOIN known_meter m ON m.code = told.meter
    LEFT JOIN usage_balance known ON known.item_id = told.item_id AND known.period_index = told.period_index
        AND known.meter = told.meter
    CROSS JOIN LATERAL (SELECT coalesce(m.aggregation, known.aggregation, 'sum') AS aggregation) kind
    ON CONFLICT (item_id, period_index) DO UPDATE SET window_version = excluded.window_version,
        meter = excluded.meter, period_start = excluded.period_start, quantity = excluded.quantity,
        aggregation = excluded.aggregation
    WHERE b.window_version < excluded.window_version
"""
_SINCE = """
    SELECT b.subscription_id, b.meter, b.period_start, b.quantity, b.aggregation, b.as_of
    FROM unnest($1::text[], $2::timestamptz[]) AS wanted(id, start)
    JOIN usage_balance b ON b.subscription_id = wanted.id AND b.period_start >= wanted.start
"""

# One of each kind, in the order of the columns above.
_EACH: tuple[Aggregation, ...] = ("sum", "max", "min", "latest")

_Closed = UsageWindowClosedV1 | UsageCorrectedV1
_Key = tuple[str, int]


class UsageBalances:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._told: dict[_Key, UsageBalanceUpdatedV1] = {}
        self._closed: dict[str, _Closed] = {}

    def reset(self) -> None:
        self._told, self._closed = {}, {}

    def keep(self, event: UsageBalanceUpdatedV1) -> None:
        known = self._told.get((event.item_id, event.period_index))
        if known is None or known.version < event.version:
            self._told[event.item_id, event.period_index] = event

    def keep_closed(self, event: _Closed) -> None:
        known = self._closed.get(event.window_id)
        if known is None or known.version < event.version:
            self._closed[event.window_id] = event

    async def flush(self) -> None:
        told, self._told = self._told, {}
        closed, self._closed = self._closed, {}
        await bulk_insert(
            self._uow.connection,
            usage_balance,
            [self._row(told[key]) for key in sorted(told)],
            tail=_UNDER_WAY,
        )
        totals = _by_item(closed.values())
        if totals:
            keys = sorted(totals)
            columns = zip(*(totals[key] for key in keys), strict=True)
            driver = await raw(self._uow.connection)
            await driver.execute(_CLOSED, self._uow.tenant, *(list(column) for column in columns))

    def _row(self, event: UsageBalanceUpdatedV1) -> dict[str, Any]:
        return {
            "tenant": self._uow.tenant,
            "subscription_id": event.subscription_id,
            "item_id": event.item_id,
            "meter": event.meter,
            "period_index": event.period_index,
            "period_start": event.period_start,
            "version": event.version,
            "window_version": 0,
            "quantity": event.quantity,
            "aggregation": event.aggregation,
            "as_of": event.as_of,
        }

    async def list_since(self, starts: Mapping[str, datetime]) -> Sequence[UsageBalance]:
        driver = await raw(self._uow.connection)
        return [
            UsageBalance(**dict(row))
            for row in await driver.fetch(_SINCE, list(starts), list(starts.values()))
        ]


def _by_item(closed: Any) -> dict[_Key, tuple[Any, ...]]:
    """One row for each item of each window, whatever its prices."""
    found: dict[_Key, tuple[Any, ...]] = {}
    for event in closed:
        quantities: dict[str, list[Decimal]] = {}
        for total in event.totals:
            quantities.setdefault(total.item_id, []).append(total.quantity)
        meters = {total.item_id: total.meter for total in event.totals}
        for item_id, parts in quantities.items():
            found[item_id, event.period_index] = (
                event.subscription_id,
                item_id,
                meters[item_id],
                event.period_index,
                event.window_start,
                event.version,
                *(together(aggregation, parts) for aggregation in _EACH),
            )
    return found

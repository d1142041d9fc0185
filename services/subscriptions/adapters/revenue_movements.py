"""Movements of recurring revenue: rows are only added, and what they come to is reckoned where it is asked for.

What a movement means for its customer is not kept, since a change that takes effect earlier may give another of the
customer's subscriptions its first day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import asyncpg
from sqlalchemy import Date, DateTime, Numeric, Text, cast, column, func, select, text, update

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, is_among, raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.revenue_rows import revenue_fill, revenue_movement
from services.subscriptions.application.ports import RevenueEntry, RevenueFilter
from services.subscriptions.domain.recurring_revenue import (
    KINDS,
    Mark,
    MovementKind,
    RevenueMonth,
    RevenueMovement,
)

# $1 customer, $2 currency, $3 test clock; a null stands for all of them.
_DAYS = """
    fact AS (
        SELECT customer_id, subscription_id, currency, on_date,
               coalesce(sum(amount) FILTER (WHERE part = 'agreement'), 0) AS agreed,
               coalesce(sum(amount) FILTER (WHERE part = 'indexation'), 0) AS indexed
        FROM revenue_movement
        WHERE (cast($1 AS text) IS NULL OR customer_id = $1) AND (cast($2 AS text) IS NULL OR currency = $2)
          AND (cast($3 AS text) IS NULL OR clock_id = $3)
        GROUP BY customer_id, subscription_id, currency, on_date
    ),
    summed AS (
        SELECT customer_id, currency, on_date, sum(agreed) AS agreed, sum(indexed) AS indexed,
               sum(sum(agreed + indexed)) OVER (PARTITION BY customer_id, currency ORDER BY on_date) AS after
        FROM fact GROUP BY customer_id, currency, on_date
    ),
    dated AS (
        SELECT *, after - agreed - indexed AS before, max(after) OVER (
            PARTITION BY customer_id, currency ORDER BY on_date
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS most_before
        FROM summed
    ),
    day AS (
        SELECT *, CASE
            WHEN before = 0 AND after > 0
                THEN CASE WHEN coalesce(most_before, 0) > 0 THEN 'reactivation' ELSE 'new' END
            WHEN before > 0 AND after = 0 THEN 'churn'
            WHEN agreed > 0 THEN 'expansion' ELSE 'contraction' END AS kind
        FROM dated
    )"""
_WHOLE = "kind IN ('new', 'reactivation', 'churn')"  # of which an indexation is no part of its own

# $4 and $5 are the first day and the first after the last. A month is null before the first, and so is a whole: all of
# the time as one. What is asked of all three is reckoned in one statement, over days that are summed up once.
_MONTH = "CASE WHEN on_date >= $4 THEN date_trunc('month', on_date)::date END"
_WHOLE_TIME = "CASE WHEN on_date >= $4 THEN $4 END"


def _held(name: str, bucket: str, days: str, who: str, agreed: str) -> str:
    """What each had as a bucket began, and by how much it was moved."""
    return f"""{name} AS (
        SELECT *, sum(total) OVER (PARTITION BY currency, who ORDER BY bucket NULLS FIRST) - total AS opening
        FROM (
            SELECT currency, {bucket} AS bucket, {who} AS who, sum(agreed) AS agreed,
                   sum({agreed}) AS total
            FROM {days} WHERE on_date < $5 GROUP BY 1, 2, 3
        ) AS moved
    )"""


_RETAINED = """
    SELECT {what}, currency, bucket, NULL,
           sum(CASE WHEN opening > 0 THEN greatest(agreed, -opening) ELSE 0 END),
           sum(CASE WHEN opening > 0 THEN greatest(least(agreed, 0), -opening) ELSE 0 END),
           sum((opening + total > 0)::int - (opening > 0)::int)
    FROM {held} GROUP BY currency, bucket"""
_MONTHS = f"""
    WITH {_DAYS},
    {_held("by_month", _MONTH, "day", "customer_id", "agreed + indexed")},
    {_held("by_whole", _WHOLE_TIME, "day", "customer_id", "agreed + indexed")},
    {_held("by_subscription", _MONTH, "fact", "subscription_id", "agreed + indexed")},
    kinds AS (
        SELECT currency, {_MONTH} AS bucket, kind,
               CASE WHEN {_WHOLE} THEN agreed + indexed ELSE agreed END AS amount
        FROM day WHERE on_date < $5
        UNION ALL
        SELECT currency, {_MONTH}, 'indexation', indexed FROM day
        WHERE on_date < $5 AND NOT {_WHOLE} AND indexed <> 0
    )
    SELECT 'kind' AS what, currency, bucket, kind, sum(amount) AS amount, NULL::numeric AS gross, 0 AS more
    FROM kinds GROUP BY currency, bucket, kind
    UNION ALL {_RETAINED.format(what="'month'", held="by_month")}
    UNION ALL {_RETAINED.format(what="'whole'", held="by_whole")}
    UNION ALL {_RETAINED.format(what="'subscriptions'", held="by_subscription")}"""

_ENTRIES = f"""
    WITH {_DAYS.replace("$1", ":customer_id").replace("$2", ":currency").replace("$3", ":clock_id")}
    SELECT fact.customer_id, fact.subscription_id, fact.currency, fact.on_date, part.kind, part.amount,
           day.before, day.after
    FROM fact JOIN day USING (customer_id, currency, on_date)
    CROSS JOIN LATERAL (
        SELECT day.kind, CASE WHEN day.{_WHOLE} THEN fact.agreed + fact.indexed ELSE fact.agreed END AS amount
        UNION ALL
        SELECT 'indexation', fact.indexed WHERE NOT day.{_WHOLE}
    ) AS part
    WHERE part.amount <> 0 AND (cast(:kind AS text) IS NULL OR part.kind = :kind)
      AND fact.on_date >= :start_on AND fact.on_date < :end_on"""


class RevenueMovementRepository:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: list[RevenueMovement] = []

    def reset(self) -> None:
        """Nothing is kept at hand."""

    def add(self, movement: RevenueMovement) -> None:
        self._added.append(movement)

    async def flush(self) -> None:
        added, self._added = self._added, []
        rows = [
            {
                "tenant": self._uow.tenant,
                "id": one.id,
                "customer_id": one.customer_id,
                "subscription_id": one.subscription_id,
                "on_date": one.on,
                "currency": one.currency,
                "part": one.part,
                "amount": one.amount,
                "cause": one.cause,
                "clock_id": one.test_clock_id,
                "recorded_at": one.recorded_at,
            }
            for one in added
        ]
        await bulk_insert(self._uow.connection, revenue_movement, rows)

    async def recorded_of(self, subscription_ids: Iterable[str]) -> Mapping[str, Mapping[Mark, Decimal]]:
        table = revenue_movement.c
        mark = (table.subscription_id, table.on_date, table.currency, table.part)
        statement = (
            select(*mark, func.sum(table.amount).label("amount"))
            .where(is_among(table.subscription_id, subscription_ids))
            .group_by(*mark)
        )
        found: dict[str, dict[Mark, Decimal]] = defaultdict(dict)
        for row in await self._uow.connection.execute(statement):
            found[row.subscription_id][row.on_date, row.currency, row.part] = row.amount
        return found

    async def filled(self, subscription_ids: Iterable[str]) -> None:
        table = revenue_fill
        done = update(table).where(is_among(table.c.id, subscription_ids)).values(due_at=None)
        await self._uow.connection.execute(done)

    async def months(
        self, wanted: RevenueFilter, start_on: date, end_on: date
    ) -> Sequence[tuple[Sequence[RevenueMonth], RevenueMonth]]:
        driver = await raw(self._uow.connection)
        given = (wanted.customer_id, wanted.currency, wanted.test_clock_id, start_on, end_on)
        by_currency: dict[str, list[asyncpg.Record]] = defaultdict(list)
        for row in await driver.fetch(_MONTHS, *given):
            by_currency[row["currency"]].append(row)
        return [
            _in_currency(currency, start_on, end_on, by_currency[currency])
            for currency in sorted(by_currency)
        ]

    async def list_page(
        self, wanted: RevenueFilter, start_on: date, end_on: date, page: PageRequest
    ) -> Slice[RevenueEntry]:
        entries = (
            text(_ENTRIES)
            .bindparams(
                customer_id=wanted.customer_id,
                currency=wanted.currency,
                clock_id=wanted.test_clock_id,
                kind=wanted.kind,
                start_on=start_on,
                end_on=end_on,
            )
            .columns(
                column("customer_id", Text),
                column("subscription_id", Text),
                column("currency", Text),
                column("on_date", Date),
                column("kind", Text),
                column("amount", Numeric),
                column("before", Numeric),
                column("after", Numeric),
            )
            .subquery("entry")
        )
        at = func.timezone("UTC", cast(entries.c.on_date, DateTime))
        return await fetch_page(
            self._uow.connection,
            select(entries),
            created_at=at,
            id=entries.c.subscription_id + "/" + entries.c.currency + "/" + entries.c.kind,
            page=page,
            to_view=lambda row: RevenueEntry(**{name: row[name] for name in RevenueEntry.__slots__}),
        )


def _months(start_on: date, end_on: date) -> list[date]:
    found, month = [], start_on
    while month < end_on:
        found.append(month)
        month = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return found


def _in_currency(
    currency: str, start_on: date, end_on: date, rows: Sequence[asyncpg.Record]
) -> tuple[Sequence[RevenueMonth], RevenueMonth]:
    nothing = Decimal(0)
    moved: dict[date | None, dict[MovementKind, Decimal]] = defaultdict(dict)
    told: dict[tuple[str, date | None], asyncpg.Record] = {}
    for row in rows:
        if row["what"] == "kind":
            moved[row["bucket"]][row["kind"]] = row["amount"]
        else:
            told[row["what"], row["bucket"]] = row

    def retained(what: str, bucket: date | None) -> tuple[Decimal, Decimal, int]:
        found = told.get((what, bucket))
        return (nothing, nothing, 0) if found is None else (found["amount"], found["gross"], found["more"])

    opening = first = sum(moved[None].values(), nothing)
    customer_count, subscription_count = retained("month", None)[2], retained("subscriptions", None)[2]
    months: list[RevenueMonth] = []
    for start in _months(start_on, end_on):
        net, gross, more = retained("month", start)
        customer_count += more
        subscription_count += retained("subscriptions", start)[2]
        month = RevenueMonth(
            currency=currency,
            starts_on=start,
            opening=opening,
            by_kind={kind: moved[start].get(kind, nothing) for kind in KINDS},
            retained_net=opening + net,
            retained_gross=opening + gross,
            customer_count=customer_count,
            subscription_count=subscription_count,
        )
        months.append(month)
        opening = month.closing
    net, gross, _ = retained("whole", start_on)
    total = replace(
        months[-1],
        starts_on=start_on,
        opening=first,
        by_kind={kind: sum((month.by_kind[kind] for month in months), nothing) for kind in KINDS},
        retained_net=first + net,
        retained_gross=first + gross,
    )
    return months, total

"""What a customer's standing is read off: its agreements, the days that moved its revenue, and whom to show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Date, and_, cast, exists, func, select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among, raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters import mapping, rows
from services.subscriptions.adapters.revenue_rows import customer_invoice
from services.subscriptions.application.ports import StandingFilter
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.customer_standing import RevenueDay
from services.subscriptions.domain.lifecycle import RUNNING
from services.subscriptions.domain.subscription import Subscription

_DAYS = """
    SELECT customer_id, on_date, currency,
           coalesce(sum(amount) FILTER (WHERE part = 'agreement'), 0) AS agreed,
           coalesce(sum(amount) FILTER (WHERE part = 'indexation'), 0) AS indexed
    FROM revenue_movement WHERE customer_id = ANY ($1::text[])
    GROUP BY customer_id, on_date, currency"""

_CLOCKS = """
    SELECT customer_id, max(test_clock.now) AS now
    FROM subscription JOIN test_clock ON test_clock.id = clock_id
    WHERE customer_id = ANY ($1::text[]) GROUP BY customer_id"""


class CustomerStandingReads:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def agreements_of(self, customer_ids: Iterable[str]) -> Mapping[str, Sequence[Subscription]]:
        table = rows.subscription
        statement = select(table).where(is_among(table.c.customer_id, customer_ids))
        found: dict[str, list[Subscription]] = defaultdict(list)
        for row in (await self._uow.connection.execute(statement)).mappings():
            found[row["customer_id"]].append(mapping.subscription_from_row(row))
        return found

    async def revenue_days_of(self, customer_ids: Iterable[str]) -> Mapping[str, Sequence[RevenueDay]]:
        driver = await raw(self._uow.connection)
        found: dict[str, list[RevenueDay]] = defaultdict(list)
        for row in await driver.fetch(_DAYS, sorted(customer_ids)):
            day = RevenueDay(row["on_date"], row["currency"], row["agreed"], row["indexed"])
            found[row["customer_id"]].append(day)
        return found

    async def clocks_of(self, customer_ids: Iterable[str]) -> Mapping[str, datetime]:
        driver = await raw(self._uow.connection)
        return {row["customer_id"]: row["now"] for row in await driver.fetch(_CLOCKS, sorted(customer_ids))}

    async def list_page(
        self, wanted: StandingFilter, system_now: datetime, page: PageRequest
    ) -> Slice[Customer]:
        customer, agreed, clock = rows.customer, rows.subscription, rows.test_clock
        latest = (
            select(func.max(clock.c.now))
            .where(agreed.c.customer_id == customer.c.id, clock.c.id == agreed.c.clock_id)
            .correlate(customer)
            .scalar_subquery()
        )
        # A day more or less in the customer's zone is told by its standing; here all have one calendar.
        today = cast(func.timezone("UTC", func.coalesce(latest, system_now)), Date)
        statement = select(customer)
        if wanted.is_overdue is not None:
            invoice = customer_invoice.c
            overdue = exists().where(
                and_(
                    invoice.customer_id == customer.c.id,
                    invoice.paid_round < invoice.open_round,
                    ~invoice.is_void,
                    invoice.due_on < today,
                    invoice.owed_minor - invoice.credited_minor
                    > func.greatest(invoice.paid_minor - invoice.reopened_minor, 0),
                )
            )
            statement = statement.where(overdue if wanted.is_overdue else ~overdue)
        if wanted.tenure_days_min is not None:
            long_ago = exists().where(
                agreed.c.customer_id == customer.c.id,
                agreed.c.period_index.is_not(None),
                cast(func.timezone(agreed.c.zone, agreed.c.starts_at), Date) + wanted.tenure_days_min
                <= today,
            )
            running = exists().where(
                agreed.c.customer_id == customer.c.id, agreed.c.state.in_(sorted(RUNNING))
            )
            statement = statement.where(long_ago, running)
        return await fetch_page(
            self._uow.connection,
            statement,
            created_at=customer.c.created_at,
            id=customer.c.id,
            page=page,
            to_view=mapping.customer_from_row,
        )

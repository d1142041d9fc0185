"""Subject bindings in their table, whose exclusion constraint has the last word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Select, func, or_, select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, is_among, missing_from, raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters import mapping, rows
from services.subscriptions.application.ports import BindingFilter, Span
from services.subscriptions.domain.subject_binding import SubjectBinding, SubjectBindingNotFound
from services.subscriptions.domain.subscription import Subscription, SubscriptionState

# Compared as plain instants, which the btree and the row policy allow; the range operators would be a filter only.
_FIND_IN = """
    SELECT binding.*
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
         AS wanted(meter, subject, bound_from, bound_until)
    JOIN subject_binding AS binding
      ON binding.meter = wanted.meter AND binding.subject = wanted.subject
     AND (binding.bound_from = wanted.bound_from
          OR binding.bound_from < coalesce(wanted.bound_until, 'infinity')
             AND coalesce(binding.bound_until, 'infinity') > wanted.bound_from)
"""


class SubjectBindingRepository(Repository[SubjectBinding]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.subject_binding,
            to_row=mapping.binding_to_row,
            from_row=mapping.binding_from_row,
            not_found=lambda id: SubjectBindingNotFound("there is no subject binding with this id"),
        )
        self._open: dict[str, list[SubjectBinding]] = {}

    def reset(self) -> None:
        super().reset()
        self._open.clear()

    async def find_in(self, spans: Sequence[Span]) -> Sequence[SubjectBinding]:
        if not spans:
            return []
        driver = await raw(self.uow.connection)
        found = await driver.fetch(
            _FIND_IN,
            [span.meter for span in spans],
            [span.subject for span in spans],
            [span.bound_from for span in spans],
            [span.bound_until for span in spans],
        )
        return list({row["id"]: mapping.binding_from_row(row) for row in found}.values())

    async def insert_new(self, bindings: Sequence[SubjectBinding]) -> set[str]:
        """In the order of what they occupy, so that two who bind the same subjects wait and do not deadlock.

        A row that the constraint forbids is left out; one that another transaction is about to write is waited
        for first.
        """
        in_order = sorted(bindings, key=lambda one: (one.meter, one.subject, one.bound_from))
        inserted = await bulk_insert(
            self.uow.connection,
            self.table,
            [{"tenant": self.uow.tenant, **mapping.binding_to_row(binding)} for binding in in_order],
            tail="ON CONFLICT DO NOTHING RETURNING id",
        )
        return {row["id"] for row in inserted}

    async def load_open(self, subscription_ids: Iterable[str]) -> None:
        wanted = missing_from(subscription_ids, self._open)
        if not wanted:
            return
        subscription = rows.subscription
        # No end lies before the period under way; what is over by the end itself is left alone when it is released.
        earliest = func.coalesce(subscription.c.period_start, subscription.c.starts_at)
        statement = (
            select(self.table)
            .join(subscription, subscription.c.id == self.table.c.subscription_id)
            .where(
                is_among(self.table.c.subscription_id, wanted),
                or_(self.table.c.bound_until.is_(None), self.table.c.bound_until > earliest),
            )
        )
        self._open.update({id: [] for id in wanted})
        for binding in await self._lock(statement):
            self._open[binding.subscription_id].append(binding)

    async def open_of(self, subscription: Subscription) -> Sequence[SubjectBinding]:
        if subscription.id in self._open:
            return self._open[subscription.id]
        statement = select(self.table).where(self.table.c.subscription_id == subscription.id)
        if subscription.state is not SubscriptionState.CANCELED:
            beyond = self.table.c.bound_until > subscription.ended_at
            statement = statement.where(or_(self.table.c.bound_until.is_(None), beyond))
        return await self._lock(statement)

    async def _lock(self, statement: Select[tuple[object, ...]]) -> list[SubjectBinding]:
        locking = statement.order_by(self.table.c.id).with_for_update(of=self.table)
        found = (await self.uow.connection.execute(locking)).mappings()
        bindings = [mapping.binding_from_row(row) for row in found]
        self._locked.update({binding.id: binding for binding in bindings})
        return bindings

    async def list_page(self, wanted: BindingFilter, page: PageRequest) -> Slice[SubjectBinding]:
        statement, column = select(self.table), self.table.c
        for filtered, value in (
            (column.subject, wanted.subject),
            (column.meter, wanted.meter),
            (column.item_id, wanted.item_id),
            (column.subscription_id, wanted.subscription_id),
            (column.asset_id, wanted.asset_id),
        ):
            if value is not None:
                statement = statement.where(filtered == value)
        if wanted.customer_id is not None:
            own = select(rows.subscription.c.id).where(rows.subscription.c.customer_id == wanted.customer_id)
            statement = statement.where(column.subscription_id.in_(own))
        return await fetch_page(
            self.uow.connection,
            statement,
            created_at=column.created_at,
            id=column.id,
            page=page,
            to_view=mapping.binding_from_row,
        )

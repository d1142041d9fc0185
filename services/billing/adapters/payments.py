"""How customers pay, and what was tried to collect their invoices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select, update

from libs.common.persistence.base import bulk_update, is_among
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.domain.payment import (
    PaymentAttempt,
    PaymentAttemptNotFound,
    PaymentMethod,
    PaymentMethodNotFound,
)


class PaymentMethodRepository(Repository[PaymentMethod]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.payment_method,
            to_row=mapping.method_to_row,
            from_row=mapping.method_from_row,
            not_found=lambda id: PaymentMethodNotFound("no payment method has this id", id=id),
        )
        self._by_id: dict[str, PaymentMethod] = {}
        self._defaults: dict[str, PaymentMethod | None] = {}

    def reset(self) -> None:
        super().reset()
        self._by_id.clear()
        self._defaults.clear()

    async def load_for_attempts(self, attempts: Iterable[PaymentAttempt]) -> None:
        """In one statement: the methods that attempts named before, and the defaults of the others' customers."""
        given = list(attempts)
        named = {attempt.payment_method_id for attempt in given if attempt.payment_method_id is not None}
        customers = {attempt.customer_id for attempt in given if attempt.payment_method_id is None}
        self._defaults.update(dict.fromkeys(customers))
        table = rows.payment_method
        wanted = is_among(table.c.id, named) | (is_among(table.c.customer_id, customers) & table.c.is_default)
        for row in (await self.uow.connection.execute(select(table).where(wanted))).mappings():
            method = self._by_id[row["id"]] = mapping.method_from_row(row)
            if method.is_default:
                self._defaults[method.customer_id] = method

    async def find(self, id: str) -> PaymentMethod | None:
        return self._by_id.get(id) or await super().find(id)

    async def find_default(self, customer_id: str) -> PaymentMethod | None:
        if customer_id not in self._defaults:
            table = rows.payment_method
            wanted = select(table).where(table.c.customer_id == customer_id, table.c.is_default)
            row = (await self.uow.connection.execute(wanted)).mappings().first()
            self._defaults[customer_id] = mapping.method_from_row(row) if row else None
        return self._defaults[customer_id]

    async def of_customer(self, customer_id: str) -> list[PaymentMethod]:
        table = rows.payment_method
        theirs = (
            select(table)
            .where(table.c.customer_id == customer_id, table.c.removed_at.is_(None))
            .order_by(table.c.created_at, table.c.id)
        )
        return [
            mapping.method_from_row(row) for row in (await self.uow.connection.execute(theirs)).mappings()
        ]

    async def find_by_token(self, *, gateway: str, account: str, token: str) -> PaymentMethod | None:
        """The method that the customer has by it now."""
        table = rows.payment_method
        theirs = select(table).where(
            table.c.tenant == self.uow.tenant,
            table.c.gateway == gateway,
            table.c.account == account,
            table.c.token == token,
            table.c.removed_at.is_(None),
        )
        row = (await self.uow.connection.execute(theirs)).mappings().first()
        return mapping.method_from_row(row) if row else None

    async def count_changes(self, customer_id: str) -> int:
        table = rows.payment_method
        counted = select(func.count() + func.count(table.c.removed_at)).where(
            table.c.customer_id == customer_id
        )
        return int((await self.uow.connection.execute(counted)).scalar_one())

    async def step_down(self, method: PaymentMethod) -> None:
        await self.remove(method)

    async def remove(self, method: PaymentMethod) -> None:
        await bulk_update(self.uow.connection, rows.payment_method, [mapping.method_to_row(method)])
        self._locked[method.id] = method
        self._defaults.pop(method.customer_id, None)


class PaymentAttemptRepository(Repository[PaymentAttempt]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.payment_attempt,
            to_row=mapping.attempt_to_row,
            from_row=mapping.attempt_from_row,
            not_found=lambda id: PaymentAttemptNotFound("no payment attempt has this id", id=id),
        )

    async def last_of_invoice(self, invoice_id: str) -> PaymentAttempt | None:
        """The newest attempt, locked."""
        table = rows.payment_attempt
        newest = (
            select(table.c.id)
            .where(table.c.invoice_id == invoice_id)
            .order_by(table.c.number.desc())
            .limit(1)
        )
        id = (await self.uow.connection.execute(newest)).scalar_one_or_none()
        return None if id is None else await self.find_for_update(id)

    async def ask_later(
        self, attempt: PaymentAttempt, *, now: datetime, first_s: float, last_s: float, error: str
    ) -> None:
        """Whose outcome is unknown is looked at again after a pause that doubles each time, by the wall.

        Nothing changes where another process holds the claim by now.
        """
        table = rows.payment_attempt
        doubled = func.least(func.power(2, func.least(table.c.attempts, 20)) * first_s, last_s)
        await self.uow.connection.execute(
            update(table)
            .where(table.c.id == attempt.id, table.c.version == attempt.version, table.c.due_at.is_not(None))
            .values(
                attempts=table.c.attempts + 1,
                retry_at=now + func.make_interval(0, 0, 0, 0, 0, 0, doubled),
                last_error=error,
            )
        )

    async def put_off(self, id: str, *, until: datetime, error: str) -> None:
        """What went wrong stands beside the attempt, and no scheduler looks at it until then, by the wall."""
        table = rows.payment_attempt
        await self.uow.connection.execute(
            update(table)
            .where(table.c.id == id, table.c.due_at.is_not(None))
            .values(attempts=table.c.attempts + 1, retry_at=until, last_error=error)
        )

"""How customers pay, and what was tried to collect their invoices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import RowMapping, func, select

from libs.common.money import Money
from libs.common.persistence.base import bulk_update, is_among
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.plain_fields import plain_fields
from services.billing.domain.payment import (
    MethodDetails,
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
            to_row=method_to_row,
            from_row=method_from_row,
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
            method = self._by_id[row["id"]] = method_from_row(row)
            if method.is_default:
                self._defaults[method.customer_id] = method

    async def find(self, id: str) -> PaymentMethod | None:
        return self._by_id.get(id) or await super().find(id)

    async def find_default(self, customer_id: str) -> PaymentMethod | None:
        if customer_id not in self._defaults:
            table = rows.payment_method
            wanted = select(table).where(table.c.customer_id == customer_id, table.c.is_default)
            row = (await self.uow.connection.execute(wanted)).mappings().first()
            self._defaults[customer_id] = method_from_row(row) if row else None
        return self._defaults[customer_id]

    async def of_customer(self, customer_id: str) -> list[PaymentMethod]:
        table = rows.payment_method
        theirs = (
            select(table)
            .where(table.c.customer_id == customer_id, table.c.removed_at.is_(None))
            .order_by(table.c.created_at, table.c.id)
        )
        return [method_from_row(row) for row in (await self.uow.connection.execute(theirs)).mappings()]

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
        return method_from_row(row) if row else None

    async def count_changes(self, customer_id: str) -> int:
        table = rows.payment_method
        counted = select(func.count() + func.count(table.c.removed_at)).where(
            table.c.customer_id == customer_id
        )
        return int((await self.uow.connection.execute(counted)).scalar_one())

    async def step_down(self, method: PaymentMethod) -> None:
        await self.remove(method)

    async def remove(self, method: PaymentMethod) -> None:
        await bulk_update(self.uow.connection, rows.payment_method, [method_to_row(method)])
        self._locked[method.id] = method
        self._defaults.pop(method.customer_id, None)


class PaymentAttemptRepository(Repository[PaymentAttempt]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.payment_attempt,
            to_row=attempt_to_row,
            from_row=attempt_from_row,
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


def method_to_row(method: PaymentMethod) -> dict[str, Any]:
    return {
        **plain_fields(method),
        "details": None if method.details is None else plain_fields(method.details),
    }


def method_from_row(row: RowMapping) -> PaymentMethod:
    plain = {name: row[name] for name in PaymentMethod.__slots__}
    return PaymentMethod(**{**plain, "details": MethodDetails(**row["details"]) if row["details"] else None})


def attempt_to_row(attempt: PaymentAttempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "invoice_id": attempt.invoice_id,
        "customer_id": attempt.customer_id,
        "number": attempt.number,
        "state": attempt.state,
        "payment_method_id": attempt.payment_method_id,
        "amount_minor": attempt.amount.amount_minor,
        "currency": attempt.amount.currency,
        "gateway_reference": attempt.gateway_reference,
        "reason": attempt.reason,
        "claimed_until": attempt.claimed_until,
        "ended_at": attempt.ended_at,
        "called_at": attempt.called_at,
        "processing_since": attempt.processing_since,
        "needs_action": attempt.needs_action,
        "created_at": attempt.created_at,
        "version": attempt.version,
        "due_at": attempt.due_at,
        "clock_id": attempt.clock_id,
        "retry_at": attempt.claimed_until,  # while it is claimed, no scheduler finds it
        "traceparent": attempt.traceparent,
    }


def attempt_from_row(row: RowMapping) -> PaymentAttempt:
    return PaymentAttempt(
        id=row["id"],
        invoice_id=row["invoice_id"],
        customer_id=row["customer_id"],
        number=row["number"],
        state=row["state"],
        amount=Money(row["amount_minor"], row["currency"]),
        created_at=row["created_at"],
        due_at=row["due_at"],
        clock_id=row["clock_id"],
        traceparent=row["traceparent"],
        payment_method_id=row["payment_method_id"],
        claimed_until=row["claimed_until"],
        gateway_reference=row["gateway_reference"],
        reason=row["reason"],
        ended_at=row["ended_at"],
        called_at=row["called_at"],
        processing_since=row["processing_since"],
        needs_action=row["needs_action"],
        version=row["version"],
    )

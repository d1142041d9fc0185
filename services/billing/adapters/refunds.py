"""Money that is given back, and the payments along which it may go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, case, func, select, true

from libs.common.money import Money
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.credit_note_rows import refund
from services.billing.adapters.payment_rows import payment, payment_allocation
from services.billing.domain.refund import Refund, RefundNotFound, RefundSource

_PLAIN = tuple(name for name in Refund.__slots__ if name != "amount")


class RefundRepository(Repository[Refund]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            refund,
            to_row=refund_to_row,
            from_row=refund_from_row,
            not_found=lambda id: RefundNotFound("no refund has this id", id=id),
        )

    async def of_invoice(self, invoice_id: str, currency: str) -> Money:
        """What is given back of an invoice as money, all refunds together that were not canceled."""
        return Money(await self._sum(refund.c.invoice_id == invoice_id), currency) + self._new(
            (one for one in self._added.values() if one.invoice_id == invoice_id), currency
        )

    async def of_payment(self, payment_id: str, currency: str) -> Money:
        """What goes back, or went back, along a payment."""
        return Money(await self._sum(refund.c.payment_id == payment_id), currency) + self._new(
            (one for one in self._added.values() if one.payment_id == payment_id), currency
        )

    async def sources_of_invoice(
        self, invoice_id: str, currency: str, *, deposit_id: str | None = None
    ) -> list[RefundSource]:
        """The payments that paid it, the newest first, each with what may still go back of that part; locked.

        `deposit_id`: it is the document by which that deposit was asked for.
        """
        paid = payment_allocation.c
        of_this = (
            select(paid.payment_id, func.sum(paid.amount_minor).label("minor"))
            .where(paid.tenant == self.uow.tenant, paid.invoice_id == invoice_id)
            .group_by(paid.payment_id)
            .subquery()
        )
        of_it = refund.c.invoice_id == invoice_id if deposit_id is None else refund.c.deposit_id == deposit_id
        back = self._back(of_it)
        return await self._sources(of_this, back, currency)

    async def sources_of_balance(self, customer_id: str, currency: str) -> list[RefundSource]:
        """The payments of which the balance was given something, the newest first; locked."""
        given = payment.c
        of_this = (
            select(given.id.label("payment_id"), given.to_balance_minor.label("minor"))
            .where(
                given.tenant == self.uow.tenant,
                given.customer_id == customer_id,
                given.currency == currency,
                given.to_balance_minor > 0,
            )
            .subquery()
        )
        back = self._back(refund.c.credit_note_id.is_(None) & refund.c.deposit_id.is_(None))
        return await self._sources(of_this, back, currency)

    async def source_of_payment(self, payment_id: str, currency: str) -> list[RefundSource]:
        """One payment with all that may still go back of it; locked."""
        of_this = (
            select(payment.c.id.label("payment_id"), payment.c.amount_minor.label("minor"))
            .where(payment.c.tenant == self.uow.tenant, payment.c.id == payment_id)
            .subquery()
        )
        return await self._sources(of_this, self._back(refund.c.payment_id == payment_id), currency)

    def _back(self, of_these: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((of_these, refund.c.amount_minor), else_=0)), 0)

    async def _sources(self, of_this: Any, back: ColumnElement[int], currency: str) -> list[RefundSource]:
        """What may go back is what such refunds left of the part, and what all refunds left of the payment."""
        gone = (
            select(
                back.label("of_part"), func.coalesce(func.sum(refund.c.amount_minor), 0).label("of_payment")
            )
            .where(
                refund.c.tenant == payment.c.tenant,
                refund.c.payment_id == payment.c.id,
                refund.c.state != "canceled",
            )
            .lateral()
        )
        left_minor = func.least(
            of_this.c.minor - gone.c.of_part,
            payment.c.amount_minor - payment.c.reversed_minor - gone.c.of_payment,
        )
        locked = (
            select(payment.c.id, payment.c.attempt_id, of_this.c.minor)
            .join(of_this, of_this.c.payment_id == payment.c.id)
            .order_by(payment.c.id)
            .with_for_update(of=payment)
        )
        await self.uow.connection.execute(
            locked
        )  # what others wrote meanwhile is seen by the statement after it
        found = (
            select(payment.c.id, payment.c.attempt_id, left_minor.label("minor"))
            .join(of_this, of_this.c.payment_id == payment.c.id)
            .join(gone, true())
            .order_by(payment.c.received_at.desc(), payment.c.id.desc())
        )
        sources: list[RefundSource] = []
        for row in await self.uow.connection.execute(found):
            new = self._new((one for one in self._added.values() if one.payment_id == row.id), currency)
            left = Money(int(row.minor), currency) - new
            if left.amount_minor > 0:
                sources.append(RefundSource(row.id, left, by_gateway=row.attempt_id is not None))
        return sources

    async def _sum(self, of_these: ColumnElement[bool]) -> int:
        table = refund.c
        summed = select(func.coalesce(func.sum(table.amount_minor), 0)).where(
            table.tenant == self.uow.tenant, table.state != "canceled", of_these
        )
        return int((await self.uow.connection.execute(summed)).scalar_one())

    def _new(self, added: Iterable[Refund], currency: str) -> Money:
        return Money(sum(one.amount.amount_minor for one in added), currency)


def refund_to_row(given: Refund) -> dict[str, Any]:
    plain = {name: getattr(given, name) for name in _PLAIN}
    return {
        **plain,
        "amount_minor": given.amount.amount_minor,
        "currency": given.amount.currency,
        "retry_at": given.claimed_until,  # while it is claimed, no scheduler finds it
    }


def refund_from_row(row: RowMapping) -> Refund:
    return Refund(**{name: row[name] for name in _PLAIN}, amount=Money(row["amount_minor"], row["currency"]))

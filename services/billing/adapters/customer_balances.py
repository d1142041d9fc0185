"""What is owed to customers, and every movement of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select

from libs.common.money import Money
from libs.common.persistence.base import bulk_insert, bulk_update, is_among, missing_from
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.application import events
from services.billing.domain.customer_balance import (
    BalanceEntry,
    BalanceMovement,
    CustomerBalance,
    balance_id,
    empty_balance,
    moved,
)


class CustomerBalanceRepository:
    """Balances are locked in id order, after all agreements and invoices.

    Most customers have none, which costs a batch one read. Who gives to a balance that is not there does not lock it:
    the row is made, and the place of the entry is settled, when everything is written.
    """

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._locked: dict[str, CustomerBalance | None] = {}
        self._now: dict[str, CustomerBalance] = {}
        self._movements: list[BalanceMovement] = []

    def reset(self) -> None:
        self._locked.clear()
        self._now.clear()

    async def load_for_update(self, keys: Iterable[tuple[str, str]]) -> None:
        """Lock and read the balances of these (customer id, currency), in one statement."""
        wanted = {balance_id(customer_id, currency) for customer_id, currency in keys}
        await self._lock(missing_from(wanted, self._locked))

    async def _lock(self, ids: Iterable[str]) -> None:
        wanted = set(ids)
        if not wanted:
            return
        table = rows.customer_balance
        statement = select(table).where(is_among(table.c.id, wanted)).order_by(table.c.id).with_for_update()
        self._locked.update(dict.fromkeys(wanted))
        for row in (await self._uow.connection.execute(statement)).mappings():
            self._locked[row["id"]] = balance_from_row(row)

    async def find_for_update(self, customer_id: str, currency: str) -> CustomerBalance | None:
        await self.load_for_update([(customer_id, currency)])
        id = balance_id(customer_id, currency)
        return self._now.get(id) or self._locked[id]

    async def open_for_update(self, customer_id: str, currency: str, *, now: datetime) -> CustomerBalance:
        known = await self.find_for_update(customer_id, currency)
        if known is not None:
            return known
        await self._make([empty_balance(customer_id, currency, now=now)])
        made = await self.find_for_update(customer_id, currency)
        assert made is not None, "what was made a moment ago is there"
        return made

    async def _make(self, balances: Iterable[CustomerBalance]) -> None:
        """Make those that are not there, and lock them all; somebody else may be making them just now."""
        wanted = sorted(balances, key=lambda balance: balance.id)
        tenant = self._uow.tenant
        await bulk_insert(
            self._uow.connection,
            rows.customer_balance,
            [{"tenant": tenant, **balance_to_row(balance)} for balance in wanted],
            tail="ON CONFLICT (id) DO NOTHING",
        )
        await self._lock(balance.id for balance in wanted)

    def move(self, movement: BalanceMovement) -> BalanceEntry:
        id = movement.balance_id
        before = self._now.get(id) or self._locked.get(id)
        if before is None:
            before = _empty_for(movement)
        self._now[id], entry = moved(before, movement)
        self._movements.append(movement)
        return entry

    def moved_balances(self) -> list[tuple[CustomerBalance, CustomerBalance]]:
        """Before and after, of those that were moved and are not written yet."""
        pending = {movement.balance_id: movement for movement in reversed(self._movements)}
        before = {id: self._locked.get(id) or _empty_for(pending[id]) for id in sorted(pending)}
        return [(balance, self._now[id]) for id, balance in before.items()]

    async def flush(self) -> None:
        movements, self._movements = self._movements, []
        if not movements:
            return
        unknown = {
            m.balance_id: _empty_for(m) for m in reversed(movements) if not self._locked.get(m.balance_id)
        }
        await self._make(unknown.values())
        tenant = self._uow.tenant
        entries: list[BalanceEntry] = []
        for movement in movements:
            balance = self._locked[movement.balance_id]
            assert balance is not None, "every balance that was moved is locked by now"
            self._locked[balance.id], entry = moved(balance, movement)
            entries.append(entry)
        changed = [self._locked[id] for id in sorted({entry.balance_id for entry in entries})]
        self._now.clear()
        await bulk_update(
            self._uow.connection,
            rows.customer_balance,
            [balance_to_row(balance) for balance in changed if balance is not None],
        )
        await bulk_insert(
            self._uow.connection,
            rows.customer_balance_entry,
            [{"tenant": tenant, **balance_entry_to_row(entry)} for entry in entries],
        )
        for entry in entries:
            told = events.customer_balance_changed(entry, tenant=tenant)
            self._uow.outbox.append(told, key=entry.balance_id, traceparent=entry.movement.traceparent)


def _empty_for(movement: BalanceMovement) -> CustomerBalance:
    return empty_balance(movement.customer_id, movement.amount.currency, now=movement.occurred_at)


def balance_to_row(balance: CustomerBalance) -> dict[str, Any]:
    return {
        "id": balance.id,
        "customer_id": balance.customer_id,
        "currency": balance.amount.currency,
        "balance_minor": balance.amount.amount_minor,
        "version": balance.version,
        "created_at": balance.created_at,
    }


def balance_from_row(row: RowMapping) -> CustomerBalance:
    return CustomerBalance(
        id=row["id"],
        customer_id=row["customer_id"],
        amount=Money(row["balance_minor"], row["currency"]),
        version=row["version"],
        created_at=row["created_at"],
    )


def balance_entry_to_row(entry: BalanceEntry) -> dict[str, Any]:
    movement = entry.movement
    return {
        "id": entry.id,
        "balance_id": entry.balance_id,
        "ordinal": entry.ordinal,
        "customer_id": movement.customer_id,
        "kind": movement.kind,
        "amount_minor": movement.amount.amount_minor,
        "after_minor": entry.after.amount_minor,
        "currency": movement.amount.currency,
        "occurred_at": movement.occurred_at,
        "actor": movement.actor,
        "invoice_id": movement.invoice_id,
        "reason": movement.reason,
        "clock_id": movement.clock_id,
        "credit_note_id": movement.credit_note_id,
        "allocation_id": movement.allocation_id,
        "refund_id": movement.refund_id,
    }


def balance_entry_from_row(row: RowMapping) -> BalanceEntry:
    plain = (
        "customer_id",
        "kind",
        "occurred_at",
        "actor",
        "invoice_id",
        "reason",
        "clock_id",
        "credit_note_id",
        "allocation_id",
        "refund_id",
    )
    amount, after = (Money(row[name], row["currency"]) for name in ("amount_minor", "after_minor"))
    return BalanceEntry(
        id=row["id"],
        balance_id=row["balance_id"],
        ordinal=row["ordinal"],
        movement=BalanceMovement(amount=amount, **{name: row[name] for name in plain}),
        after=after,
    )

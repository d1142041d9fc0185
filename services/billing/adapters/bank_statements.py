"""Bank statements, their entries, and what the books know that may concern them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, Text, delete, func, or_, select, update

from libs.common.money import Money
from libs.common.persistence.base import bulk_insert, is_among
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows as billing
from services.billing.adapters import statement_rows as rows
from services.billing.adapters.payment_rows import payment
from services.billing.domain.bank_statement import (
    BankStatement,
    BankStatementEntry,
    BankStatementEntryNotFound,
    BankStatementNotFound,
    ToldEntry,
    ToldStatement,
)
from services.billing.domain.remittance import letters_and_digits, number_key
from services.billing.domain.statement_matching import Known, OpenInvoice, Quoted, name_key

CHUNK = 5_000
OWED_MAX = 2_000
ORIGINALS_MAX = 20

_TOLD_PLAIN = tuple(name for name in ToldEntry.__slots__ if name != "amount")
_ENTRY_PLAIN = tuple(name for name in BankStatementEntry.__slots__ if name != "told")


class BankStatementRepository(Repository[BankStatement]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.bank_statement,
            to_row=statement_to_row,
            from_row=statement_from_row,
            not_found=lambda id: BankStatementNotFound("no bank statement has this id", id=id),
        )

    async def open(self, statement: BankStatement) -> BankStatement | None:
        made = await bulk_insert(
            self.uow.connection,
            self.table,
            self._rows([statement]),
            tail="ON CONFLICT (id) DO NOTHING RETURNING id",
        )
        return None if made else await self.get(statement.id)

    async def add_entries(self, entries: Sequence[BankStatementEntry]) -> int:
        """In id order, so that two files that tell the same wait for each other, and not each for the other."""
        tenant = self.uow.tenant
        given = sorted(
            ({"tenant": tenant, **entry_to_row(one)} for one in entries), key=lambda row: row["id"]
        )
        count = 0
        for start in range(0, len(given), CHUNK):
            made = await bulk_insert(
                self.uow.connection,
                rows.bank_statement_entry,
                given[start : start + CHUNK],
                tail="ON CONFLICT (id) DO NOTHING RETURNING id",
            )
            count += len(made)
        return count

    async def count_new(self, statement: BankStatement) -> None:
        mine = self.table.c.id == statement.id
        await self.uow.connection.execute(
            update(self.table).where(mine).values(new_count=statement.new_count)
        )

    async def states_of(self, ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """How many entries of each statement are in which state."""
        table = rows.bank_statement_entry
        counted = (
            select(table.c.statement_id, table.c.state, func.count().label("count"))
            .where(table.c.tenant == self.uow.tenant, is_among(table.c.statement_id, ids))
            .group_by(table.c.statement_id, table.c.state)
        )
        found: dict[str, dict[str, int]] = {}
        for row in await self.uow.connection.execute(counted):
            found.setdefault(row.statement_id, {})[row.state] = row[2]
        return found


class BankStatementEntryRepository(Repository[BankStatementEntry]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.bank_statement_entry,
            to_row=entry_to_row,
            from_row=entry_from_row,
            not_found=lambda id: BankStatementEntryNotFound("no entry has this id", id=id),
        )
        self._learned: dict[tuple[str, str], datetime] = {}

    def learn(self, account: str, customer_id: str, *, at: datetime) -> None:
        self._learned.setdefault((account, customer_id), at)

    async def forget(self, account: str) -> None:
        table = rows.payer_account
        mine = (table.c.tenant == self.uow.tenant) & (table.c.account == account)
        await self.uow.connection.execute(delete(table).where(mine))

    async def forget_customer(self, customer_id: str) -> None:
        table = rows.payer_account
        his = (table.c.tenant == self.uow.tenant) & (table.c.customer_id == customer_id)
        await self.uow.connection.execute(delete(table).where(his))

    async def flush(self) -> None:
        learned, self._learned = self._learned, {}
        await super().flush()
        await bulk_insert(
            self.uow.connection,
            rows.payer_account,
            [
                {"tenant": self.uow.tenant, "account": account, "customer_id": customer_id, "created_at": at}
                for (account, customer_id), at in sorted(learned.items())
            ],
            tail="ON CONFLICT DO NOTHING",
        )

    async def known_for(
        self, quoted: Sequence[tuple[BankStatementEntry, Quoted]], *, names: bool = False
    ) -> Known:
        """`names`: also the customers who are called as payers are, for a person to look at."""
        found = await self._by_numbers({key for _, one in quoted for key in one.keys})
        by_key: dict[str, list[OpenInvoice]] = {}
        for invoice in found:
            by_key.setdefault(number_key(invoice.number), []).append(invoice)
        accounts = await self._customers_by_account(
            {entry.told.payer_account for entry, _ in quoted} - {None}
        )
        named = await self._customers_by_name(entry for entry, _ in quoted) if names else {}
        customers = {id for ids in (*accounts.values(), *named.values()) for id in ids}
        owed: dict[str, list[OpenInvoice]] = {}
        for invoice in await self._owed_by(customers):
            owed.setdefault(invoice.customer_id, []).append(invoice)
        return Known(by_key, accounts, named, owed)

    async def originals_of(self, entry: BankStatementEntry) -> list[BankStatementEntry]:
        """By the references of the bank, or of the payer; without any, none."""
        table, told = self.table, entry.told
        common = [
            column == value
            for column, value in (
                (table.c.bank_reference, told.bank_reference),
                (table.c.end_to_end_id, told.end_to_end_id),
                (table.c.creditor_reference, told.creditor_reference),
            )
            if value is not None
        ]
        if not common:
            return []
        alike = (
            select(table)
            .join(payment, (payment.c.id == table.c.payment_id) & (payment.c.tenant == table.c.tenant))
            .where(
                table.c.tenant == self.uow.tenant,
                table.c.account == entry.account,
                table.c.amount_minor == told.amount.amount_minor,
                table.c.currency == told.amount.currency,
                table.c.direction == "credit",
                table.c.state.in_(("matched", "unmatched")),
                payment.c.reversed_minor == 0,
                or_(*common),
            )
            .limit(ORIGINALS_MAX)
        )
        return [entry_from_row(row) for row in (await self.uow.connection.execute(alike)).mappings()]

    async def _by_numbers(self, keys: set[str]) -> list[OpenInvoice]:
        """By the heads under which the tenant has numbered anything, so that numbers need no other index."""
        if not keys:
            return []
        series = billing.number_series
        given = await self.uow.connection.execute(select(series.c.seller_id, series.c.series, series.c.head))
        heads = list(given)
        numbers = {n for head in {row.head for row in heads} for key in keys for n in _numbers(head, key)}
        if not numbers:
            return []
        table = billing.invoice
        return await self._invoices(
            table.c.tenant == self.uow.tenant,
            is_among(table.c.seller_id, {row.seller_id for row in heads}),
            is_among(table.c.series, {row.series for row in heads}),
            is_among(table.c.number, numbers),
        )

    async def _owed_by(self, customer_ids: set[str]) -> list[OpenInvoice]:
        if not customer_ids:
            return []
        table = billing.invoice
        return await self._invoices(
            table.c.tenant == self.uow.tenant,
            is_among(table.c.customer_id, customer_ids),
            table.c.status.in_(("finalized", "uncollectible")),
        )

    async def _invoices(self, *conditions: Any) -> list[OpenInvoice]:
        table = billing.invoice
        wanted = (
            select(
                table.c.id,
                table.c.number,
                table.c.customer_id,
                table.c.customer["name"].astext.label("customer_name"),
                table.c.status,
                table.c.currency,
                table.c.clock_id,
                (
                    table.c.total_minor
                    - table.c.credits_applied_minor
                    - table.c.balance_applied_minor
                    - table.c.paid_minor
                    - table.c.credited_minor
                ).label("due_minor"),
            )
            .where(*conditions)
            .order_by(table.c.due_on, table.c.id)
            .limit(OWED_MAX)
        )
        return [_open_invoice(row) for row in (await self.uow.connection.execute(wanted)).mappings()]

    async def _customers_by_account(self, accounts: set[str | None]) -> dict[str, list[str]]:
        if not accounts:
            return {}
        table = rows.payer_account
        known = select(table).where(
            table.c.tenant == self.uow.tenant, is_among(table.c.account, {one for one in accounts if one})
        )
        found: dict[str, list[str]] = {}
        for row in await self.uow.connection.execute(known):
            found.setdefault(row.account, []).append(row.customer_id)
        return found

    async def _customers_by_name(self, entries: Iterable[BankStatementEntry]) -> dict[str, list[str]]:
        names = {name.lower() for entry in entries if (name := entry.told.payer_name)}
        if not names:
            return {}
        table = billing.customer
        called = select(table.c.id, table.c.name, table.c.legal_name).where(
            table.c.tenant == self.uow.tenant,
            or_(
                is_among(func.lower(table.c.name, type_=Text), names),
                is_among(func.lower(table.c.legal_name, type_=Text), names),
            ),
            table.c.is_erased.is_(False),
        )
        found: dict[str, list[str]] = {}
        for row in await self.uow.connection.execute(called.limit(OWED_MAX)):
            for name in {row.name, row.legal_name} - {None}:
                found.setdefault(name_key(name), []).append(row.id)
        return found


def _numbers(head: str, key: str) -> list[str]:
    """The numbers with this head whose last letters and digits are `key`."""
    plain = letters_and_digits(head)
    return [
        head + key[-length:]
        for length in range(1, len(key) + 1)
        if key[-length:].isdigit()
        and (plain == key[:-length] or (key[:-length] and plain.endswith(key[:-length])))
    ]


def _open_invoice(row: RowMapping) -> OpenInvoice:
    is_open = row["status"] in ("finalized", "uncollectible")
    return OpenInvoice(
        id=row["id"],
        number=row["number"],
        customer_id=row["customer_id"],
        customer_name=row["customer_name"] or "",
        status=row["status"],
        due=Money(row["due_minor"] if is_open else 0, row["currency"]),
        clock_id=row["clock_id"],
    )


def statement_to_row(given: BankStatement) -> dict[str, Any]:
    return {
        "id": given.id,
        "format": given.format,
        "digest": given.digest,
        "accounts": [_account_to_json(one) for one in given.accounts],
        "entry_count": given.entry_count,
        "new_count": given.new_count,
        "passed_over_count": given.passed_over_count,
        "version": given.version,
        "created_at": given.created_at,
    }


def statement_from_row(row: RowMapping) -> BankStatement:
    plain = {name: row[name] for name in BankStatement.__slots__ if name != "accounts"}
    return BankStatement(accounts=tuple(_account_from_json(one) for one in row["accounts"]), **plain)


def _account_to_json(told: ToldStatement) -> dict[str, Any]:
    return {
        "account": told.account,
        "statement_id": told.statement_id,
        "currency": told.currency,
        "opening": None if told.opening is None else f"{told.opening:f}",
        "closing": None if told.closing is None else f"{told.closing:f}",
        "balances_agree": told.balances_agree,
        "passed_over_count": told.passed_over_count,
    }


def _account_from_json(stored: Mapping[str, Any]) -> ToldStatement:
    """Without its entries, which are rows of their own."""
    amounts = {
        name: None if stored[name] is None else Decimal(stored[name]) for name in ("opening", "closing")
    }
    return ToldStatement(**{**stored, **amounts}, entries=())


def entry_to_row(given: BankStatementEntry) -> dict[str, Any]:
    told = given.told
    return {
        **{name: getattr(given, name) for name in _ENTRY_PLAIN},
        **{name: getattr(told, name) for name in _TOLD_PLAIN},
        "amount_minor": told.amount.amount_minor,
        "currency": told.amount.currency,
    }


def entry_from_row(row: RowMapping) -> BankStatementEntry:
    told = ToldEntry(
        **{name: row[name] for name in _TOLD_PLAIN}, amount=Money(row["amount_minor"], row["currency"])
    )
    return BankStatementEntry(**{name: row[name] for name in _ENTRY_PLAIN}, told=told)

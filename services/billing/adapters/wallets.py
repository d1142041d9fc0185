"""Wallets with their grants, every movement of them, and what sells more."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, func, select

from libs.common.exact import EXACT
from libs.common.money import Money
from libs.common.persistence.base import bulk_insert, bulk_update, is_among, missing_from
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.wallet_rows import wallet, wallet_entry, wallet_grant, wallet_top_up
from services.billing.application import wallet_events
from services.billing.domain.wallet import (
    NOTHING,
    Draw,
    Grant,
    Movement,
    Scope,
    TopUpRule,
    Wallet,
    WalletEntry,
    WalletNotFound,
)
from services.billing.domain.wallet_top_up import TopUp


class WalletRepository:
    """Wallets are locked in id order, after all invoices; their grants belong to them and need no locks of their own."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._held: dict[str, Wallet] = {}
        self._by_customer: dict[str, list[str]] = defaultdict(list)
        self._customers: set[str] = set()
        self._added: dict[str, Wallet] = {}
        self._saved: dict[str, Wallet] = {}
        self._grants_known: set[str] = set()
        self._grants: dict[str, Grant] = {}
        self._movements: list[tuple[Movement, str | None]] = []
        self._top_ups: dict[str, TopUp] = {}
        self._top_ups_added: set[str] = set()
        self._top_ups_saved: set[str] = set()

    def reset(self) -> None:
        for known in (self._held, self._by_customer, self._grants, self._top_ups):
            known.clear()
        self._customers.clear()
        self._grants_known.clear()

    async def load_for_update(self, customer_ids: Iterable[str]) -> None:
        """Lock and read the wallets of these customers, in one statement; if there are any, their grants in another."""
        customers = sorted(set(customer_ids) - self._customers)
        if not customers:
            return
        self._customers.update(customers)
        mine = (wallet.c.tenant == self._uow.tenant) & is_among(wallet.c.customer_id, customers)
        await self._lock(mine)

    async def load_by_id_for_update(self, ids: Iterable[str]) -> None:
        missing = sorted(missing_from(ids, self._held))
        if missing:
            await self._lock(is_among(wallet.c.id, missing))

    async def _lock(self, which: Any) -> None:
        found = await self._uow.connection.execute(
            select(wallet).where(which).order_by(wallet.c.id).with_for_update()
        )
        loaded = {row["id"]: wallet_from_row(row) for row in found.mappings()}
        new = {id: known for id, known in loaded.items() if id not in self._held}
        grants = await self._open_grants(new)
        for id, known in new.items():
            self._hold(replace(known, grants=tuple(grants[id])))

    def _hold(self, known: Wallet) -> None:
        self._held[known.id] = known
        insort(self._by_customer[known.customer_id], known.id)

    async def _open_grants(self, wallet_ids: Iterable[str]) -> Mapping[str, list[Grant]]:
        """A statement of its own: it sees what those who held the locks have written."""
        grants: dict[str, list[Grant]] = defaultdict(list)
        ids = sorted(wallet_ids)
        if ids:
            table = wallet_grant.c
            mine = (table.tenant == self._uow.tenant) & is_among(table.wallet_id, ids)
            open_ones = select(wallet_grant).where(mine, table.remaining > 0).order_by(table.ordinal)
            for row in (await self._uow.connection.execute(open_ones)).mappings():
                grants[row["wallet_id"]].append(grant_from_row(row))
                self._grants_known.add(row["id"])
        return grants

    async def of_customer_for_update(self, customer_id: str) -> list[Wallet]:
        await self.load_for_update([customer_id])
        return [self._held[id] for id in self._by_customer.get(customer_id, ())]

    async def find_for_update(self, id: str) -> Wallet | None:
        await self.load_by_id_for_update([id])
        return self._held.get(id)

    async def get_for_update(self, id: str) -> Wallet:
        found = await self.find_for_update(id)
        if found is None:
            raise WalletNotFound("no wallet has this id", id=id)
        return found

    def add(self, made: Wallet) -> None:
        self._added[made.id] = made
        self._hold(made)

    def save(self, changed: Wallet) -> None:
        assert changed.id in self._held, "a wallet is locked before it is changed"
        self._held[changed.id] = changed
        (self._added if changed.id in self._added else self._saved)[changed.id] = changed

    def move(self, movement: Movement, *, traceparent: str | None = None) -> None:
        """The wallet as it is after it; its entries are written, and its event told, when all is flushed."""
        self.save(movement.wallet)
        self._grants.update({grant.id: grant for grant in movement.grants})
        self._movements.append((movement, traceparent))

    async def grants(self, ids: Sequence[str]) -> dict[str, Grant]:
        """Also those of which nothing is left. Their wallets are locked."""
        known = {id: self._grants[id] for id in ids if id in self._grants}
        missing = sorted(missing_from(ids, known))
        if missing:
            wanted = select(wallet_grant).where(is_among(wallet_grant.c.id, missing))
            for row in (await self._uow.connection.execute(wanted)).mappings():
                known[row["id"]] = grant_from_row(row)
                self._grants_known.add(row["id"])
        return known

    async def drawn_by(self, invoice_id: str) -> list[WalletEntry]:
        """What the document drew and was given back, wallet by wallet, in its order."""
        table = wallet_entry.c
        mine = (table.tenant == self._uow.tenant) & (table.invoice_id == invoice_id)
        found = (await self._uow.connection.execute(select(wallet_entry).where(mine))).mappings()
        entries = [entry_from_row(row) for row in found]
        entries += [entry for entry in self._unwritten() if entry.invoice_id == invoice_id]
        return sorted(entries, key=lambda entry: (entry.wallet_id, entry.ordinal))

    def _unwritten(self) -> Iterator[WalletEntry]:
        for movement, _ in self._movements:
            yield from movement.entries

    async def units_of_charges(self, charge_ids: Sequence[str]) -> list[tuple[Grant, Draw]]:
        """What units still cover of these charges, newest first: what was drawn for them, less what came back."""
        table = wallet_entry.c
        mine = (table.tenant == self._uow.tenant) & is_among(table.charge_id, charge_ids)
        found = (await self._uow.connection.execute(select(wallet_entry).where(mine))).mappings()
        entries = [entry_from_row(row) for row in found]
        entries += [entry for entry in self._unwritten() if entry.charge_id in set(charge_ids)]
        sums: dict[tuple[str, str], Draw] = {}
        for entry in sorted(entries, key=lambda entry: entry.ordinal, reverse=True):
            assert entry.charge_id is not None, "units cover lines of charges"
            assert entry.paid is not None, "what covers a line pays of it"
            key = entry.grant_id, entry.charge_id
            nothing = Money.zero(entry.paid.currency)
            before = sums.get(key) or Draw(entry.grant_id, NOTHING, nothing, charge_id=entry.charge_id)
            units = EXACT.subtract(before.amount, entry.amount)
            sums[key] = replace(before, amount=units, paid=before.paid + entry.paid)
        known = await self.grants(sorted({grant_id for grant_id, _ in sums}))
        return [(known[draw.grant_id], draw) for draw in sums.values() if draw.amount > 0]

    def add_top_up(self, top_up: TopUp) -> None:
        self._top_ups[top_up.invoice_id] = top_up
        self._top_ups_added.add(top_up.invoice_id)

    def save_top_up(self, top_up: TopUp) -> None:
        self._top_ups[top_up.invoice_id] = top_up
        if top_up.invoice_id not in self._top_ups_added:
            self._top_ups_saved.add(top_up.invoice_id)

    async def find_top_up(self, invoice_id: str) -> TopUp | None:
        """What the document sells; it changes under the lock of its wallet only."""
        if invoice_id in self._top_ups:
            return self._top_ups[invoice_id]
        mine = (wallet_top_up.c.tenant == self._uow.tenant) & (wallet_top_up.c.invoice_id == invoice_id)
        found = await self._uow.connection.execute(select(wallet_top_up).where(mine))
        row = found.mappings().first()
        return None if row is None else top_up_from_row(row)

    async def find_top_up_of_grant(self, grant: Grant) -> TopUp | None:
        if grant.top_up_id is None:
            return None
        found = await self._uow.connection.execute(
            select(wallet_top_up).where(wallet_top_up.c.id == grant.top_up_id)
        )
        row = found.mappings().first()
        return None if row is None else top_up_from_row(row)

    async def spent_automatically(
        self, wallet_id: str, currency: str, *, since: datetime, until: datetime
    ) -> Money:
        """What automatic top-ups of that time cost, those that were voided left out."""
        table = wallet_top_up.c
        summed = select(func.coalesce(func.sum(table.price_minor), 0)).where(
            table.tenant == self._uow.tenant,
            table.wallet_id == wallet_id,
            table.cause == "automatic",
            table.state != "void",
            table.requested_at >= since,
            table.requested_at < until,
        )
        return Money(int((await self._uow.connection.execute(summed)).scalar_one()), currency)

    async def flush(self) -> None:
        added, self._added = self._added, {}
        saved, self._saved = self._saved, {}
        grants, self._grants = self._grants, {}
        movements, self._movements = self._movements, []
        tenant, connection = self._uow.tenant, self._uow.connection
        await bulk_insert(
            connection,
            wallet,
            [{"tenant": tenant, **wallet_to_row(added[id])} for id in sorted(added)],
        )
        await bulk_update(connection, wallet, [wallet_to_row(saved[id]) for id in sorted(saved)])
        new = [grants[id] for id in sorted(grants) if id not in self._grants_known]
        changed = [grants[id] for id in sorted(grants) if id in self._grants_known]
        await bulk_insert(
            connection, wallet_grant, [{"tenant": tenant, **grant_to_row(grant)} for grant in new]
        )
        await bulk_update(connection, wallet_grant, [grant_to_row(grant) for grant in changed])
        self._grants_known.update(grants)
        await bulk_insert(
            connection,
            wallet_entry,
            [
                {"tenant": tenant, **entry_to_row(entry)}
                for movement, _ in movements
                for entry in movement.entries
            ],
        )
        await self._flush_top_ups()
        for movement, traceparent in movements:
            told = wallet_events.wallet_changed(movement, tenant=tenant)
            self._uow.outbox.append(told, key=movement.wallet.id, traceparent=traceparent)

    async def _flush_top_ups(self) -> None:
        added, self._top_ups_added = self._top_ups_added, set()
        saved, self._top_ups_saved = self._top_ups_saved, set()
        await bulk_update(
            self._uow.connection, wallet_top_up, [top_up_to_row(self._top_ups[id]) for id in sorted(saved)]
        )
        await bulk_insert(
            self._uow.connection,
            wallet_top_up,
            [{"tenant": self._uow.tenant, **top_up_to_row(self._top_ups[id])} for id in sorted(added)],
        )


_WALLET_PLAIN = tuple(name for name in Wallet.__slots__ if name not in ("grants", "top_up"))
_GRANT_PLAIN = tuple(name for name in Grant.__slots__ if name not in ("cost", "scope"))
_ENTRY_PLAIN = tuple(name for name in WalletEntry.__slots__ if name not in ("cost", "paid"))
_TOP_UP_PLAIN = tuple(name for name in TopUp.__slots__ if name != "price")


def wallet_to_row(known: Wallet) -> dict[str, Any]:
    rule = known.top_up
    limit = None if rule is None else rule.monthly_limit
    return {
        **{name: getattr(known, name) for name in _WALLET_PLAIN},
        "top_up_threshold": None if rule is None else rule.threshold,
        "top_up_amount": None if rule is None else rule.amount,
        "top_up_monthly_limit_minor": None if limit is None else limit.amount_minor,
    }


def wallet_from_row(row: RowMapping) -> Wallet:
    limit = row["top_up_monthly_limit_minor"]
    rule = None
    if row["top_up_threshold"] is not None:
        rule = TopUpRule(
            threshold=row["top_up_threshold"],
            amount=row["top_up_amount"],
            monthly_limit=None if limit is None else Money(limit, row["currency"]),
        )
    return Wallet(**{name: row[name] for name in _WALLET_PLAIN}, top_up=rule)


def grant_to_row(grant: Grant) -> dict[str, Any]:
    scope = grant.scope
    return {
        **{name: getattr(grant, name) for name in _GRANT_PLAIN},
        "cost_minor": grant.cost.amount_minor,
        "cost_left_minor": grant.cost_left.amount_minor,
        "currency": grant.cost.currency,
        "scope": {name: list(getattr(scope, name)) for name in Scope.__slots__},
    }


def grant_from_row(row: RowMapping) -> Grant:
    scope = Scope(**{name: tuple(named) for name, named in row["scope"].items()})
    plain = {name: row[name] for name in _GRANT_PLAIN}
    return Grant(**plain, cost=Money(row["cost_minor"], row["currency"]), scope=scope)


def entry_to_row(entry: WalletEntry) -> dict[str, Any]:
    return {
        **{name: getattr(entry, name) for name in _ENTRY_PLAIN},
        "cost_minor": entry.cost.amount_minor,
        "paid_minor": None if entry.paid is None else entry.paid.amount_minor,
        "currency": entry.cost.currency,
    }


def entry_from_row(row: RowMapping) -> WalletEntry:
    paid, currency = row["paid_minor"], row["currency"]
    return WalletEntry(
        **{name: row[name] for name in _ENTRY_PLAIN},
        cost=Money(row["cost_minor"], currency),
        paid=None if paid is None else Money(paid, currency),
    )


def top_up_to_row(top_up: TopUp) -> dict[str, Any]:
    return {
        **{name: getattr(top_up, name) for name in _TOP_UP_PLAIN},
        "price_minor": top_up.price.amount_minor,
        "currency": top_up.price.currency,
    }


def top_up_from_row(row: RowMapping) -> TopUp:
    plain = {name: row[name] for name in _TOP_UP_PLAIN}
    return TopUp(**plain, price=Money(row["price_minor"], row["currency"]))

"""Charges: which are recorded, of which period, on which document, and which still wait for one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, select, tuple_

from libs.common.persistence.base import bulk_insert, bulk_update, is_among, missing_from
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.period_terms import PeriodKey, listed
from services.billing.domain.charge import Charge


class ChargeRepository:
    """Charges are added, never changed but for the document that they stand on. What was loaded stays at hand."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: dict[str, Charge] = {}
        self._placed: dict[str, str] = {}
        self._freed: dict[str, str] = {}
        self._known: dict[str, bool] = {}
        self._by_invoice: dict[str, list[Charge]] = {}
        self._by_period: dict[PeriodKey, dict[str, Charge]] = {}
        self._once: dict[str, dict[str, Charge]] = {}
        self._usage: dict[PeriodKey, dict[str, Charge]] = {}
        self._waiting: dict[str, dict[str, Charge]] = {}
        self._new: dict[str, dict[str, Charge]] = defaultdict(dict)  # by subscription, since the last reset

    def reset(self) -> None:
        for known in (
            self._known,
            self._by_invoice,
            self._by_period,
            self._once,
            self._usage,
            self._waiting,
            self._new,
        ):
            known.clear()

    async def load_recorded(self, ids: Iterable[str]) -> None:
        missing = missing_from(ids, self._known)
        if missing:
            self._known.update(dict.fromkeys(missing, False))
            found = select(rows.charge.c.id).where(is_among(rows.charge.c.id, missing))
            self._known.update({row.id: True for row in await self._uow.connection.execute(found)})

    async def recorded(self, ids: Sequence[str]) -> set[str]:
        await self.load_recorded(ids)
        return {id for id in ids if self._known[id]}

    async def load_of_invoices(self, invoice_ids: Iterable[str]) -> None:
        missing = missing_from(invoice_ids, self._by_invoice)
        if missing:
            self._by_invoice.update({id: [] for id in missing})
            for charge in await self._select(is_among(rows.charge.c.invoice_id, missing)):
                assert charge.invoice_id is not None
                self._by_invoice[charge.invoice_id].append(charge)
            for charge in self._added.values():
                if charge.invoice_id in missing:
                    self._by_invoice[charge.invoice_id].append(charge)

    async def of_invoice(self, invoice_id: str) -> list[Charge]:
        await self.load_of_invoices([invoice_id])
        return self._by_invoice[invoice_id]

    async def load_of_periods(self, keys: Iterable[PeriodKey]) -> None:
        """All charges of these periods, and those for what is charged once of their subscriptions."""
        missing = sorted(missing_from(keys, self._by_period))
        if not missing:
            return
        self._by_period.update({key: {} for key in missing})
        unknown = {subscription_id for subscription_id, _ in missing} - self._once.keys()
        self._once.update({subscription_id: {} for subscription_id in unknown})
        table = rows.charge.c
        mine = table.tenant == self._uow.tenant
        of_periods = tuple_(table.subscription_id, table.period_index).in_(listed(missing))
        for charge in await self._select(mine & of_periods):
            self._by_period[charge.subscription_id, charge.period_index][charge.id] = charge
        once = (table.kind == "once") & is_among(table.subscription_id, unknown)
        for charge in await self._select(mine & once) if unknown else ():
            self._once[charge.subscription_id][charge.id] = charge

    async def of_period(self, subscription_id: str, period_index: int) -> list[Charge]:
        """Those of the period, and those for what is charged once, of whatever period."""
        key = subscription_id, period_index
        await self.load_of_periods([key])
        found = self._by_period[key] | self._once[subscription_id]
        new = self._new.get(subscription_id, {}).values()
        found |= {c.id: c for c in new if c.period_index == period_index or c.kind == "once"}
        return list(found.values())

    async def load_usage_of_periods(self, keys: Iterable[PeriodKey]) -> None:
        """The charges for the usage of these periods: mostly none, since they are about to be made."""
        missing = sorted(missing_from(keys, self._usage))
        if missing:
            self._usage.update({key: {} for key in missing})
            table = rows.charge.c
            of_periods = tuple_(table.subscription_id, table.period_index).in_(listed(missing))
            mine = (table.tenant == self._uow.tenant) & (table.kind == "usage")
            for charge in await self._select(mine & of_periods):
                self._usage[charge.subscription_id, charge.period_index][charge.id] = charge

    async def usage_of_period(self, subscription_id: str, period_index: int) -> list[Charge]:
        """Revision by revision."""
        key = subscription_id, period_index
        await self.load_usage_of_periods([key])
        new = self._new.get(subscription_id, {}).values()
        of_period = {c.id: c for c in new if c.kind == "usage" and c.period_index == period_index}
        found = self._usage[key] | of_period
        return sorted(found.values(), key=lambda charge: (charge.item_id, charge.price.id, charge.revision))

    async def of_periods(self, subscription_id: str, start: int, end: int) -> list[Charge]:
        """Those of the billing periods from `start` until before `end`."""
        table = rows.charge
        written = await self._select(
            (table.c.tenant == self._uow.tenant)
            & (table.c.subscription_id == subscription_id)
            & table.c.period_index.between(start, end - 1)
        )
        new = self._new.get(subscription_id, {}).values()
        found = {charge.id: charge for charge in written}
        return list((found | {c.id: c for c in new if start <= c.period_index < end}).values())

    async def load_waiting(self, subscription_ids: Iterable[str]) -> None:
        missing = missing_from(subscription_ids, self._waiting)
        if missing:
            self._waiting.update({id: {} for id in missing})
            table = rows.charge.c
            wanted = table.invoice_id.is_(None) & is_among(table.subscription_id, missing)
            for charge in await self._select(wanted & (table.tenant == self._uow.tenant)):
                self._waiting[charge.subscription_id][charge.id] = charge

    async def waiting(self, subscription_id: str) -> list[Charge]:
        """Those that stand on no document yet."""
        await self.load_waiting([subscription_id])
        found = self._waiting[subscription_id]
        found = found | {c.id: c for c in self._new.get(subscription_id, {}).values() if c.invoice_id is None}
        return [found[id] for id in sorted(found) if id not in self._placed]

    async def last_usage(self, item_id: str, price_id: str, *, before: int) -> Charge | None:
        """The charge for the usage of the last period before the one with index `before`."""
        table = rows.charge
        mine = (table.c.item_id == item_id) & (table.c.price_id == price_id) & (table.c.kind == "usage")
        last = select(table).where(table.c.tenant == self._uow.tenant, mine, table.c.period_index < before)
        last = last.order_by(table.c.period_index.desc(), table.c.revision.desc()).limit(1)
        row = (await self._uow.connection.execute(last)).mappings().first()
        found = [] if row is None else [mapping.charge_from_row(row)]
        found += [
            charge
            for new in self._new.values()
            for charge in new.values()
            if (charge.item_id, charge.price.id, charge.kind) == (item_id, price_id, "usage")
            and charge.period_index < before
        ]
        return max(found, key=lambda charge: (charge.period_index, charge.revision), default=None)

    async def _select(self, condition: ColumnElement[bool]) -> list[Charge]:
        found = await self._uow.connection.execute(select(rows.charge).where(condition))
        return [mapping.charge_from_row(row) for row in found.mappings()]

    def add(self, charge: Charge) -> None:
        self._added[charge.id] = charge
        self._known[charge.id] = True
        self._new[charge.subscription_id][charge.id] = charge
        if charge.invoice_id in self._by_invoice:
            self._by_invoice[charge.invoice_id].append(charge)

    def place(self, charge: Charge, invoice_id: str) -> None:
        """Put a charge that waited on a document."""
        placed = replace(charge, invoice_id=invoice_id)
        if charge.id in self._added:
            self._added[charge.id] = placed
        else:
            self._placed[charge.id] = invoice_id
        self._new[charge.subscription_id][charge.id] = placed
        self._waiting.get(charge.subscription_id, {}).pop(charge.id, None)
        if invoice_id in self._by_invoice:
            self._by_invoice[invoice_id].append(placed)

    def move(self, charges: Iterable[Charge], invoice_id: str) -> None:
        """Put charges of other documents, which were loaded, on this one, which was loaded too."""
        for charge in list(charges):
            assert charge.invoice_id is not None, "what stands on no document is placed"
            self._by_invoice[charge.invoice_id] = [
                other for other in self._by_invoice.get(charge.invoice_id, ()) if other.id != charge.id
            ]
            self.place(charge, invoice_id)

    async def free(self, invoice_id: str) -> list[Charge]:
        """Take the charges of an issued document off it, as it is voided: they wait for another from now on."""
        freed = [replace(charge, invoice_id=None) for charge in await self.of_invoice(invoice_id)]
        self._by_invoice[invoice_id] = []
        for charge in freed:
            self._freed[charge.id] = invoice_id
            self._new[charge.subscription_id][charge.id] = charge
        return freed

    async def freed_by(self, invoice_id: str) -> list[Charge]:
        """Those that stood on a document that was voided, and still wait for another."""
        table = rows.charge
        wanted = (table.c.freed_from_id == invoice_id) & table.c.invoice_id.is_(None)
        found = await self._select(wanted & (table.c.tenant == self._uow.tenant))
        return [charge for charge in found if charge.id not in self._placed]

    async def flush(self) -> None:
        added, self._added = self._added, {}
        placed, self._placed = self._placed, {}
        freed, self._freed = self._freed, {}
        tenant = self._uow.tenant
        await bulk_insert(
            self._uow.connection,
            rows.charge,
            [{"tenant": tenant, **mapping.charge_to_row(charge)} for charge in added.values()],
        )
        await bulk_update(
            self._uow.connection,
            rows.charge,
            [{"id": id, "invoice_id": placed[id]} for id in sorted(placed)],
        )
        await bulk_update(
            self._uow.connection,
            rows.charge,
            [{"id": id, "invoice_id": None, "freed_from_id": freed[id]} for id in sorted(freed)],
        )

"""Billing's aggregates on one transaction: loaded many at once, locked in id order, written in bulk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from libs.common.errors import NotFound
from libs.common.persistence.base import bulk_insert, raw
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.application import events
from services.billing.domain.agreement import Agreement, CustomerDetails
from services.billing.domain.charge import Charge, UsageOfPeriod
from services.billing.domain.invoice import Finalized, Invoice, InvoiceLine, InvoiceNotFound
from services.billing.domain.ledger_entry import LedgerEntry
from services.billing.domain.payment import (
    PaymentAttempt,
    PaymentAttemptNotFound,
    PaymentMethod,
    PaymentMethodNotFound,
)
from services.billing.domain.seller import Seller, SellerNotFound, invoice_number


class AgreementRepository(Repository[Agreement]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.agreement,
            to_row=mapping.agreement_to_row,
            from_row=mapping.agreement_from_row,
            not_found=lambda id: NotFound("no agreement has this id", id=id),
        )

    async def load_for_update(self, ids: Iterable[str]) -> None:
        """Lock the agreements, also those that are not known yet.

        A row that is not there cannot be locked; without the advisory lock, the first lifecycle event and the
        first closed window of a subscription could miss each other's effect and leave its draft waiting.
        """
        missing = sorted(set(ids) - self._locked.keys())
        if missing:
            await (await raw(self.uow.connection)).execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(id, 0)) "
                "FROM (SELECT id FROM unnest($1::text[]) AS id ORDER BY id) AS given",
                missing,
            )
        await super().load_for_update(missing)


class CustomerRepository:
    """Customers as last told; the highest version wins, whatever the order."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._newest: dict[str, CustomerDetails] = {}

    def reset(self) -> None:
        self._newest.clear()

    async def find(self, id: str) -> CustomerDetails | None:
        if id in self._newest:
            return self._newest[id]
        found = await self._uow.connection.execute(select(rows.customer).where(rows.customer.c.id == id))
        row = found.mappings().first()
        if row is None:
            return None
        return CustomerDetails(**{name: row[name] for name in CustomerDetails.__slots__})

    def keep_newest(self, customer: CustomerDetails) -> None:
        known = self._newest.get(customer.id)
        if known is None or known.version < customer.version:
            self._newest[customer.id] = customer

    async def flush(self) -> None:
        newest, self._newest = self._newest, {}
        columns = CustomerDetails.__slots__
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
        await bulk_insert(
            self._uow.connection,
            rows.customer,
            [
                {"tenant": self._uow.tenant, **{name: getattr(newest[id], name) for name in columns}}
                for id in sorted(newest)
            ],
            tail=f"ON CONFLICT (id) DO UPDATE SET {changes} WHERE customer.version < excluded.version",
        )


class ChargeRepository:
    """Charges are added, never changed. Those of a draft are at hand once loaded."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: list[Charge] = []
        self._known: dict[str, bool] = {}
        self._by_invoice: dict[str, list[Charge]] = {}

    def reset(self) -> None:
        self._known.clear()
        self._by_invoice.clear()

    async def load_recorded(self, ids: Iterable[str]) -> None:
        missing = sorted(set(ids) - self._known.keys())
        if missing:
            self._known.update(dict.fromkeys(missing, False))
            found = select(rows.charge.c.id).where(rows.charge.c.id.in_(missing))
            self._known.update({row.id: True for row in await self._uow.connection.execute(found)})

    async def recorded(self, ids: Sequence[str]) -> set[str]:
        await self.load_recorded(ids)
        return {id for id in ids if self._known[id]}

    async def load_of_invoices(self, invoice_ids: Iterable[str]) -> None:
        missing = sorted(set(invoice_ids) - self._by_invoice.keys())
        if missing:
            self._by_invoice.update({id: [] for id in missing})
            found = select(rows.charge).where(rows.charge.c.invoice_id.in_(missing))
            for row in (await self._uow.connection.execute(found)).mappings():
                self._by_invoice[row["invoice_id"]].append(mapping.charge_from_row(row))
            for charge in self._added:
                if charge.invoice_id in missing:
                    self._by_invoice[charge.invoice_id].append(charge)

    async def of_invoice(self, invoice_id: str) -> list[Charge]:
        await self.load_of_invoices([invoice_id])
        return self._by_invoice[invoice_id]

    def add(self, charge: Charge) -> None:
        self._added.append(charge)
        self._known[charge.id] = True
        if charge.invoice_id in self._by_invoice:
            self._by_invoice[charge.invoice_id].append(charge)

    async def flush(self) -> None:
        added, self._added = self._added, []
        await bulk_insert(
            self._uow.connection,
            rows.charge,
            [{"tenant": self._uow.tenant, **mapping.charge_to_row(charge)} for charge in added],
        )


class InvoiceRepository(Repository[Invoice]):
    """Invoices and their lines. Numbers are taken when everything else has been written."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.invoice,
            to_row=mapping.invoice_to_row,
            from_row=mapping.invoice_from_row,
            not_found=lambda id: InvoiceNotFound("no invoice has this id", id=id),
        )
        self._final: dict[str, Finalized] = {}

    def finalize(self, outcome: Finalized) -> None:
        """The number and the event come when the unit of work is flushed."""
        self.save(outcome.invoice)
        self._final[outcome.invoice.id] = outcome

    async def ids_waiting_for_seller(self) -> list[str]:
        waiting = (
            select(rows.invoice.c.id)
            .where(rows.invoice.c.status == "draft", rows.invoice.c.status_reason == "no_seller")
            .order_by(rows.invoice.c.id)
        )
        return list((await self.uow.connection.execute(waiting)).scalars())

    async def flush(self) -> None:
        final, self._final = self._final, {}
        numbers = await self._take_numbers([outcome.invoice for outcome in final.values()])
        lines: list[InvoiceLine] = []
        for id, outcome in final.items():
            current = self._locked[id]
            assert current is not None
            numbered = replace(current, number=numbers[id])
            self.save(numbered)
            lines.extend(outcome.lines)
            event = events.invoice_finalized(numbered, tenant=self.uow.tenant)
            self.uow.outbox.append(event, key=id, traceparent=numbered.traceparent)
        await super().flush()
        await bulk_insert(
            self.uow.connection,
            rows.invoice_line,
            [{"tenant": self.uow.tenant, **mapping.line_to_row(line)} for line in lines],
        )

    async def _take_numbers(self, invoices: Sequence[Invoice]) -> dict[str, str]:
        """One statement takes all numbers of the batch, series in order; within a series by boundary, then id."""
        wanted: dict[tuple[str, str], list[Invoice]] = defaultdict(list)
        for invoice in sorted(invoices, key=lambda i: (i.boundary_at, i.id)):
            assert invoice.seller is not None
            wanted[invoice.seller.id, invoice.series].append(invoice)
        if not wanted:
            return {}
        keys = sorted(wanted)
        taken = await bulk_insert(
            self.uow.connection,
            rows.number_series,
            [
                {
                    "tenant": self.uow.tenant,
                    "seller_id": seller,
                    "series": series,
                    "next": len(wanted[key]) + 1,
                }
                for key in keys
                for seller, series in [key]
            ],
            tail="ON CONFLICT (seller_id, series) DO UPDATE SET next = number_series.next + excluded.next - 1 "
            "RETURNING seller_id, series, next",
        )
        numbers: dict[str, str] = {}
        for row in taken:
            batch = wanted[row["seller_id"], row["series"]]
            for ordinal, invoice in enumerate(batch, start=row["next"] - len(batch)):
                assert invoice.seller is not None
                numbers[invoice.id] = invoice_number(invoice.seller.number_prefix, ordinal)
        return numbers


class UsageWindowRepository:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._loaded: dict[tuple[str, int], UsageOfPeriod | None] = {}
        self._added: list[UsageOfPeriod] = []

    def reset(self) -> None:
        self._loaded.clear()

    async def load(self, keys: Iterable[tuple[str, int]]) -> None:
        missing = sorted(set(keys) - self._loaded.keys())
        if not missing:
            return
        self._loaded.update(dict.fromkeys(missing))
        table = rows.closed_window
        found = select(table).where(
            table.c.subscription_id.in_({subscription for subscription, _ in missing})
        )
        for row in (await self._uow.connection.execute(found)).mappings():
            key = (row["subscription_id"], row["period_index"])
            if key in missing:
                self._loaded[key] = mapping.usage_from_row(row)

    async def find(self, subscription_id: str, period_index: int) -> UsageOfPeriod | None:
        await self.load([(subscription_id, period_index)])
        return self._loaded[subscription_id, period_index]

    def add(self, usage: UsageOfPeriod) -> None:
        self._added.append(usage)
        self._loaded[usage.subscription_id, usage.period_index] = usage

    async def correct(self, usage: UsageOfPeriod, *, revision: int) -> None:
        """Keep the newest totals beside those that were billed."""
        table = rows.closed_window
        totals = mapping.usage_to_row(usage)["totals"]
        await self._uow.connection.execute(
            update(table)
            .where(table.c.id == usage.window_id, table.c.revision < revision)
            .values(corrected_totals=totals, revision=revision)
        )

    async def flush(self) -> None:
        added, self._added = self._added, []
        await bulk_insert(
            self._uow.connection,
            rows.closed_window,
            [{"tenant": self._uow.tenant, **mapping.usage_to_row(usage)} for usage in added],
        )


class SellerRepository(Repository[Seller]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.seller,
            to_row=mapping.seller_to_row,
            from_row=mapping.seller_from_row,
            not_found=lambda id: SellerNotFound("no seller has this id", id=id),
        )
        self._default: Seller | None = None

    def reset(self) -> None:
        super().reset()
        self._default = None

    def add(self, aggregate: Seller) -> None:
        super().add(aggregate)
        if aggregate.is_default:
            self._default = aggregate

    async def find_default(self) -> Seller | None:
        if self._default is None:
            found = await self.uow.connection.execute(select(rows.seller).where(rows.seller.c.is_default))
            row = found.mappings().first()
            self._default = mapping.seller_from_row(row) if row else None
        return self._default


class PaymentMethodRepository(Repository[PaymentMethod]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.payment_method,
            to_row=mapping.method_to_row,
            from_row=mapping.method_from_row,
            not_found=lambda id: PaymentMethodNotFound("no payment method has this id", id=id),
        )
        self._defaults: dict[str, PaymentMethod | None] = {}

    def reset(self) -> None:
        super().reset()
        self._defaults.clear()

    async def load_defaults(self, customer_ids: Iterable[str]) -> None:
        missing = sorted(set(customer_ids) - self._defaults.keys())
        if missing:
            self._defaults.update(dict.fromkeys(missing))
            table = rows.payment_method
            found = select(table).where(table.c.customer_id.in_(missing), table.c.is_default)
            for row in (await self.uow.connection.execute(found)).mappings():
                self._defaults[row["customer_id"]] = mapping.method_from_row(row)

    async def find_default(self, customer_id: str) -> PaymentMethod | None:
        await self.load_defaults([customer_id])
        return self._defaults[customer_id]

    async def lock_of_customer(self, customer_id: str) -> list[PaymentMethod]:
        table = rows.payment_method
        found = await self.uow.connection.execute(
            select(table.c.id).where(table.c.customer_id == customer_id)
        )
        ids = list(found.scalars())
        await self.load_for_update(ids)
        return [method for id in ids if (method := self._locked[id]) is not None]


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


class LedgerRepository:
    """Entries are only ever added, each balanced set in one statement."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._rows: list[dict[str, Any]] = []

    def reset(self) -> None: ...

    def post(
        self,
        entries: Iterable[LedgerEntry],
        *,
        invoice_id: str,
        posted_at: datetime,
        attempt_id: str | None = None,
    ) -> None:
        self._rows += [
            {
                "tenant": self._uow.tenant,
                "posting_key": entry.posting,
                "ordinal": ordinal,
                "account": entry.account,
                "amount_minor": entry.amount.amount_minor,
                "currency": entry.amount.currency,
                "posted_at": posted_at,
                "invoice_id": invoice_id,
                "attempt_id": attempt_id,
            }
            for ordinal, entry in enumerate(entries)
        ]

    async def flush(self) -> None:
        posted, self._rows = self._rows, []
        await bulk_insert(self._uow.connection, rows.ledger_entry, posted)

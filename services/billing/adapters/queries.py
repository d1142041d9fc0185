"""Billing's reads on one transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, TypeVar

from sqlalchemy import RowMapping, Select, Table, func, select, text

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.customer_balances import balance_entry_from_row, balance_from_row
from services.billing.adapters.manual_lines import manual_line_from_row
from services.billing.adapters.party_mapping import profile_from_row, seller_from_row
from services.billing.adapters.payments import attempt_from_row, method_from_row
from services.billing.application.queries import (
    InvoiceFilter,
    InvoiceView,
)
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.charge import Charge
from services.billing.domain.customer_balance import BalanceEntry, CustomerBalance, CustomerBalanceNotFound
from services.billing.domain.invoice import Invoice, InvoiceNotFound, lines_of
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.payment import PaymentAttempt, PaymentMethod, PaymentMethodNotFound
from services.billing.domain.seller import Seller

V = TypeVar("V")


class SqlBillingQueries:
    def __init__(self, uow: UnitOfWork) -> None:
        self._connection = uow.connection

    async def _page_of(
        self, table: Table, statement: Select[Any], page: PageRequest, *, to_view: Callable[[RowMapping], V]
    ) -> Slice[V]:
        """One page of the statement's rows, in the order in which they were created."""
        return await fetch_page(
            self._connection,
            statement,
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=to_view,
        )

    async def list_invoices(self, wanted: InvoiceFilter, page: PageRequest) -> Slice[Invoice]:
        table = rows.invoice
        statement: Select[Any] = select(table)
        statement = (
            statement.where(table.c.status == wanted.status)
            if wanted.status is not None
            else statement.where(table.c.status.not_in(("skipped", "gathered")))
        )
        if wanted.customer_id is not None:
            statement = statement.where(table.c.customer_id == wanted.customer_id)
        if wanted.subscription_id is not None:
            several = text("invoice.subscription_ids <> '[]'::jsonb")  # as the index says it
            among = table.c.subscription_ids.contains([wanted.subscription_id]) & several
            statement = statement.where((table.c.subscription_id == wanted.subscription_id) | among)
        if wanted.document_kind is not None:
            statement = statement.where(table.c.document_kind == wanted.document_kind)
        if wanted.number is not None:
            statement = statement.where(table.c.number == wanted.number)
        if wanted.boundary_from is not None:
            statement = statement.where(table.c.boundary_at >= wanted.boundary_from)
        if wanted.boundary_to is not None:
            statement = statement.where(table.c.boundary_at < wanted.boundary_to)
        if wanted.created_from is not None:
            statement = statement.where(table.c.created_at >= wanted.created_from)
        if wanted.created_to is not None:
            statement = statement.where(table.c.created_at < wanted.created_to)
        if wanted.due_before is not None:
            statement = statement.where(table.c.status == "finalized", table.c.due_on < wanted.due_before)
        if wanted.external_id is not None:
            statement = statement.where(table.c.external_id == wanted.external_id)
        if wanted.seller_id is not None:
            statement = statement.where(table.c.seller_id == wanted.seller_id)
        return await self._page_of(table, statement, page, to_view=mapping.invoice_from_row)

    async def get_invoice(self, id: str, *, customer_id: str | None) -> InvoiceView:
        invoice = await self._invoice(id, customer_id)
        return InvoiceView(invoice, await self._lines(invoice))

    async def _invoice(self, id: str, customer_id: str | None) -> Invoice:
        row = (await self._connection.execute(select(rows.invoice).where(rows.invoice.c.id == id))).mappings()
        found = row.first()
        if found is None or (customer_id is not None and found["customer_id"] != customer_id):
            raise InvoiceNotFound("no invoice has this id")
        return mapping.invoice_from_row(found)

    async def _charges(self, invoice_id: str) -> list[Charge]:
        found = select(rows.charge).where(rows.charge.c.invoice_id == invoice_id)
        return [mapping.charge_from_row(row) for row in (await self._connection.execute(found)).mappings()]

    async def _manual_lines(self, invoice_id: str) -> list[ManualLine]:
        table = rows.manual_line
        found = select(table).where(table.c.invoice_id == invoice_id).order_by(table.c.created_at, table.c.id)
        return [manual_line_from_row(row) for row in (await self._connection.execute(found)).mappings()]

    async def _lines(self, invoice: Invoice) -> tuple[InvoiceLine, ...]:
        """As they were issued; those of a draft as they would be now."""
        if invoice.status in ("draft", "skipped", "gathered"):
            charges, manual = await self._charges(invoice.id), await self._manual_lines(invoice.id)
            return tuple(lines_of(invoice, charges, manual))
        table = rows.invoice_line
        stored = select(table).where(table.c.invoice_id == invoice.id).order_by(table.c.ordinal)
        found = (await self._connection.execute(stored)).mappings()
        return tuple(mapping.line_from_row(row) for row in found)

    async def list_attempts(
        self, invoice_id: str, page: PageRequest, *, customer_id: str | None
    ) -> Slice[PaymentAttempt]:
        await self._invoice(invoice_id, customer_id)
        table = rows.payment_attempt
        return await fetch_page(
            self._connection,
            select(table).where(table.c.invoice_id == invoice_id),
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=attempt_from_row,
        )

    async def list_sellers(self, page: PageRequest) -> Slice[Seller]:
        table = rows.seller
        return await self._page_of(table, select(table), page, to_view=seller_from_row)

    async def list_manual_lines(self, invoice_id: str, page: PageRequest) -> Slice[ManualLine]:
        await self._invoice(invoice_id, None)
        table = rows.manual_line
        statement = select(table).where(table.c.invoice_id == invoice_id)
        return await self._page_of(table, statement, page, to_view=manual_line_from_row)

    async def list_billing_profiles(
        self, page: PageRequest, *, customer_id: str | None, seller_id: str | None, gathers: bool | None
    ) -> Slice[BillingProfile]:
        table = rows.billing_profile
        statement: Select[Any] = select(table)
        if customer_id is not None:
            statement = statement.where(table.c.id == customer_id)
        if seller_id is not None:
            statement = statement.where(table.c.seller_id == seller_id)
        if gathers is not None:
            statement = statement.where(table.c.gathers == gathers)
        return await self._page_of(table, statement, page, to_view=profile_from_row)

    async def list_payment_methods(
        self, page: PageRequest, *, customer_id: str | None, expiring_by: date | None = None
    ) -> Slice[PaymentMethod]:
        table = rows.payment_method
        statement: Select[Any] = select(table).where(table.c.removed_at.is_(None))
        if expiring_by is not None:
            expiry = func.make_date(
                table.c.details["expiry_year"].as_integer(), table.c.details["expiry_month"].as_integer(), 1
            )
            statement = statement.where(expiry <= expiring_by)
        if customer_id is not None:
            statement = statement.where(table.c.customer_id == customer_id)
        return await self._page_of(table, statement, page, to_view=method_from_row)

    async def get_payment_method(self, id: str, *, customer_id: str | None) -> PaymentMethod:
        table = rows.payment_method
        wanted = select(table).where(table.c.id == id, table.c.removed_at.is_(None))
        row = (await self._connection.execute(wanted)).mappings().first()
        if row is None or (customer_id is not None and row["customer_id"] != customer_id):
            raise PaymentMethodNotFound("no payment method has this id")
        return method_from_row(row)

    async def list_customer_balances(
        self, page: PageRequest, *, customer_id: str | None, currency: str | None
    ) -> Slice[CustomerBalance]:
        table = rows.customer_balance
        statement: Select[Any] = select(table)
        if customer_id is not None:
            statement = statement.where(table.c.customer_id == customer_id)
        if currency is not None:
            statement = statement.where(table.c.currency == currency)
        return await self._page_of(table, statement, page, to_view=balance_from_row)

    async def get_customer_balance(self, id: str, *, customer_id: str | None) -> CustomerBalance:
        table = rows.customer_balance
        row = (await self._connection.execute(select(table).where(table.c.id == id))).mappings().first()
        if row is None or (customer_id is not None and row["customer_id"] != customer_id):
            raise CustomerBalanceNotFound("no customer balance has this id")
        return balance_from_row(row)

    async def list_adjustments(self, page: PageRequest, *, customer_id: str | None) -> Slice[BalanceEntry]:
        table = rows.customer_balance_entry
        statement: Select[Any] = select(table).where(table.c.kind == "adjustment")
        if customer_id is not None:
            statement = statement.where(table.c.customer_id == customer_id)
        return await fetch_page(
            self._connection,
            statement,
            created_at=table.c.recorded_at,
            id=table.c.id,
            page=page,
            to_view=balance_entry_from_row,
        )

    async def list_balance_entries(
        self, balance_id: str, page: PageRequest, *, customer_id: str | None
    ) -> Slice[BalanceEntry]:
        await self.get_customer_balance(balance_id, customer_id=customer_id)
        table = rows.customer_balance_entry
        return await fetch_page(
            self._connection,
            select(table).where(table.c.balance_id == balance_id),
            created_at=table.c.recorded_at,
            id=table.c.id,
            page=page,
            to_view=balance_entry_from_row,
        )

"""The ledger over HTTP: balances at any date, statements, when revenue is earned, and files for other programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Path, Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.periods import Interval, boundary, index_on
from libs.common.web.bodies import BusinessDate, Currency, Instant, identifier
from libs.common.web.calls import Call, authorised
from libs.common.web.csv_text import MEDIA_TYPE
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep, tell_cursor
from services.billing.adapters.ledger_queries import LedgerQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.ledger_views import MONTHS_MAX, LedgerDatesReversed, LedgerTimeTooLong
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.ledger_bodies import (
    AccountStatementBody,
    FromDate,
    InvoiceExportFormat,
    InvoiceScheduleBody,
    LedgerEntryBody,
    LedgerExportFormat,
    RevenueScheduleBody,
    ToDate,
    TrialBalanceBody,
)
from services.billing.entrypoints.ledger_files import beancount_journal, invoices_csv, ledger_csv

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
InvoiceId = Annotated[str, identifier("inv")]
AccountName = Annotated[str, Path(pattern="^[a-z_]{1,64}$", max_length=64, examples=["accounts_receivable"])]
PostingKey = Annotated[str, Query(pattern="^[A-Za-z0-9_:-]{1,128}$", max_length=128)]

MONTH = Interval("month")
BEGINNING, END = date(1900, 1, 1), date(2200, 1, 1)
FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_FILES = {
    "csv": (f"{MEDIA_TYPE}; header=present", "ledger.csv"),
    "beancount": ("text/plain", "ledger.beancount"),
}


def ledger_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["ledger"])

    @router.get("/ledger-accounts", response_model=TrialBalanceBody, summary="Show the trial balance")
    async def list_ledger_accounts(
        call: Read,
        at: Annotated[
            BusinessDate | None, Query(description="At the close of this date; by default, of all until now.")
        ] = None,
    ) -> Response:
        """What each account came to, in each currency: the sum of its entries, which is nowhere stored.

        A date is that of the document's zone. Now is that of the test clock that is furthest ahead, if there is one.
        """

        async def work(uow: BillingUnitOfWork) -> TrialBalanceBody:
            queries = LedgerQueries(uow)
            now = await queries.latest_now(clock.system_now())
            return TrialBalanceBody.from_view(await queries.trial_balance(at=at, now=now))

        return await call.read(work)

    @router.get(
        "/ledger-accounts/{account}/entries",
        response_model=AccountStatementBody,
        summary="Show the statement of an account",
    )
    async def get_account_statement(
        account: AccountName,
        call: Read,
        page: PageDep,
        currency: Annotated[Currency | None, Query()] = None,
        start_on: FromDate = None,
        end_on: ToDate = None,
    ) -> Response:
        """Opening balance, entries with the balance after each, closing balance; also of dates that lie ahead."""
        _check(start_on, end_on)

        async def work(uow: BillingUnitOfWork) -> AccountStatementBody:
            queries = LedgerQueries(uow)
            found = await queries.statement(
                account, page, currency=currency, start_on=start_on, end_on=end_on
            )
            cursor = None if found.next is None else tell_cursor(call.request, found.next)[0]
            return AccountStatementBody.from_view(found, cursor)

        return await call.read(work)

    @router.get("/ledger-entries", response_model=Page[LedgerEntryBody], summary="List ledger entries")
    async def list_ledger_entries(
        call: Read,
        page: PageDep,
        invoice_id: Annotated[InvoiceId | None, Query()] = None,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        account: Annotated[str | None, Query(pattern="^[a-z_]{1,64}$", max_length=64)] = None,
        posting: PostingKey | None = None,
        start_on: FromDate = None,
        end_on: ToDate = None,
    ) -> Response:
        """Debits are positive, credits negative; each posting sums to zero. In the order in which they were written."""
        _check(start_on, end_on)

        async def work(uow: BillingUnitOfWork) -> Slice[LedgerEntryBody]:
            found = await LedgerQueries(uow).list_entries(
                page,
                invoice_id=invoice_id,
                customer_id=customer_id,
                account=account,
                posting=posting,
                start_on=start_on,
                end_on=end_on,
            )
            return found.map(LedgerEntryBody.from_view)

        return await call.page(work)

    @router.get(
        "/invoices/{invoice_id}/revenue-schedule",
        response_model=InvoiceScheduleBody,
        summary="Show when an invoice is earned",
    )
    async def get_revenue_schedule(invoice_id: InvoiceId, call: Read) -> Response:
        """Each line over its service period, by calendar month and days, to the cent; and what is in the books."""

        async def work(uow: BillingUnitOfWork) -> InvoiceScheduleBody:
            return InvoiceScheduleBody.from_view(await LedgerQueries(uow).invoice_schedule(invoice_id))

        return await call.read(work)

    @router.get(
        "/revenue-schedules", response_model=RevenueScheduleBody, summary="Show what is earned in each month"
    )
    async def list_revenue_schedules(
        call: Read, start_on: FromDate = None, end_on: ToDate = None
    ) -> Response:
        """How what is billed ahead becomes revenue, month by month, and what remains to be earned after `to`.

        By default twelve months from the first of this one. Months that lie ahead show what falls due of what is billed.
        """
        _check(start_on, end_on)

        async def work(uow: BillingUnitOfWork) -> RevenueScheduleBody:
            queries = LedgerQueries(uow)
            today = (await queries.latest_now(clock.system_now())).date()
            begin = start_on or (end_on and boundary(end_on, MONTH, -12)) or today.replace(day=1)
            until = end_on or boundary(begin, MONTH, 12)
            _check(begin, until)
            if index_on(begin, MONTH, until) > MONTHS_MAX:
                raise LedgerTimeTooLong(
                    f"an answer has {MONTHS_MAX} months at most", pointer="/to", remedy="Ask in parts."
                )
            return RevenueScheduleBody.from_view(await queries.roll_forward(begin, until))

        return await call.read(work)

    @router.get(
        "/ledger-exports",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}, "text/plain": {}}}},
        summary="Export the ledger",
    )
    async def get_ledger_export(
        call: Read,
        format: LedgerExportFormat = "csv",
        start_on: FromDate = None,
        end_on: ToDate = None,
    ) -> Response:
        """Every entry of those dates, as comma-separated values or as a journal for Beancount, in one snapshot.

        Without `to`, also what is dated ahead. A journal that does not begin at the beginning brings balances forward.
        """
        _check(start_on, end_on)
        begin, until = start_on or BEGINNING, end_on or END

        async def told(uow: BillingUnitOfWork) -> AsyncIterator[bytes]:
            queries = LedgerQueries(uow)
            if format == "csv":
                parts = ledger_csv(queries.entries(begin, until))
            else:
                parts = beancount_journal(
                    queries.entries(begin, until),
                    used=await queries.currencies(begin, until),
                    opening={} if start_on is None else await queries.balances_before(start_on),
                    start_on=start_on,
                )
            async for part in parts:
                yield part

        media_type, filename = _FILES[format]
        return await call.stream(told, media_type=media_type, filename=filename)

    @router.get(
        "/invoice-exports",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}}}},
        summary="Export invoices",
    )
    async def get_invoice_export(
        call: Read,
        format: InvoiceExportFormat = "csv",
        issued_from: Annotated[Instant | None, Query()] = None,
        issued_to: Annotated[Instant | None, Query()] = None,
    ) -> Response:
        """Every document that was issued in that time, one record for each of its lines, in one snapshot."""
        if issued_from is not None and issued_to is not None and issued_from >= issued_to:
            raise _reversed("/issued_to")

        async def told(uow: BillingUnitOfWork) -> AsyncIterator[bytes]:
            pages = LedgerQueries(uow).invoice_lines(issued_from or FIRST, issued_to or LAST)
            async for part in invoices_csv(pages):
                yield part

        return await call.stream(told, media_type=_FILES["csv"][0], filename="invoices.csv")

    return router


def _check(start_on: date | None, end_on: date | None) -> None:
    if start_on is not None and end_on is not None and start_on >= end_on:
        raise _reversed("/to")


def _reversed(pointer: str) -> LedgerDatesReversed:
    return LedgerDatesReversed(
        "the end is not later than the start", pointer=pointer, remedy="Bounds are from and to, to excluded."
    )

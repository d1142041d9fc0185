"""Bank statements over HTTP: files are taken in, and a person says what their entries pay where nobody is certain."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated, Any, Literal

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.errors import InputError
from libs.common.paging import Slice
from libs.common.web.bodies import Currency, Name
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.bank_statement_csv import COLUMNS, CsvOptions, read_statement_csv
from services.billing.adapters.camt053 import read_camt053
from services.billing.adapters.payment_queries import PaymentQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.settle_statement_entry import ignore_entry, match_entry, unmatch_entry
from services.billing.application.take_in_bank_statement import TakeInBankStatement, take_in_bank_statement
from services.billing.domain.bank_statement import (
    BankStatementEntry,
    BankStatementUnreadable,
    StatementFormat,
    ToldStatement,
)
from services.billing.entrypoints.bank_statement_bodies import (
    BankStatementBody,
    BankStatementEntryBody,
    DirectionText,
    EntryId,
    EntryMatchBody,
    EntryReasonBody,
    EntryStateText,
    StatementId,
)

PREFIX = "/v1/bank-statements"
BODY_BYTES_MAX = 20 * 1024 * 1024
_AT_ONCE = asyncio.Semaphore(1)  # a long file takes memory while it is read
_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/xml": {"schema": {"type": "string", "format": "binary"}},
            "text/csv": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="optional")]
Settle = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def bank_statement_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["bank-statements"])

    async def shown(entry: BankStatementEntry, uow: BillingUnitOfWork) -> BankStatementEntryBody:
        await uow.flush()
        return BankStatementEntryBody.from_view(await PaymentQueries(uow).get_entry(entry.id))

    @router.post(
        "/bank-statements",
        status_code=201,
        response_model=BankStatementBody,
        summary="Take in a bank statement",
        openapi_extra=_FILE,
    )
    async def post_bank_statement(
        call: Make,
        account: Annotated[
            Name | None, Query(description="Of a CSV file that does not name it: ours.")
        ] = None,
        currency: Annotated[
            Currency | None, Query(description="Of a CSV file that does not name it.")
        ] = None,
        columns: Annotated[
            list[str] | None,
            Query(description=f"Of a CSV file: `amount:Betrag`, and so on. One of {', '.join(COLUMNS)}."),
        ] = None,
        decimal: Annotated[Literal[",", "."] | None, Query()] = None,
        date_order: Annotated[Literal["YMD", "DMY", "MDY"] | None, Query()] = None,
        charset: Annotated[Name | None, Query(description="Of a CSV file in another encoding.")] = None,
    ) -> Response:
        """CAMT.053 (version 02 or later) as `application/xml`, or a table as `text/csv`. The same file, and the same
        entry in another file, counts once. What entries pay is found out after this answer: `state` says when it is."""
        content = await call.request.body()
        options = CsvOptions(account, currency, _columns(columns or []), decimal, date_order, charset)
        format = _format_of(call.request.headers.get("content-type", ""), content)
        async with _AT_ONCE:
            told = await asyncio.to_thread(_read, format, content, options)
            command = TakeInBankStatement(
                format=format,
                digest=hashlib.sha256(content).hexdigest(),
                statements=told,
                now=clock.system_now(),
            )

            async def work(uow: BillingUnitOfWork) -> BankStatementBody:
                statement = await take_in_bank_statement(command, uow=uow)
                return BankStatementBody.from_view(await PaymentQueries(uow).get_statement(statement.id))

            return await call.once(work, location=lambda made: f"{PREFIX}/{made.id}")

    @router.get("/bank-statements", response_model=Page[BankStatementBody], summary="List bank statements")
    async def list_bank_statements(call: Read, page: PageDep) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[BankStatementBody]:
            return (await PaymentQueries(uow).list_statements(page)).map(BankStatementBody.from_view)

        return await call.page(work)

    @router.get(
        "/bank-statements/{statement_id}", response_model=BankStatementBody, summary="Show a bank statement"
    )
    async def get_bank_statement(statement_id: StatementId, call: Read) -> Response:
        async def work(uow: BillingUnitOfWork) -> BankStatementBody:
            return BankStatementBody.from_view(await PaymentQueries(uow).get_statement(statement_id))

        return await call.read(work)

    @router.get(
        "/bank-statement-entries",
        response_model=Page[BankStatementEntryBody],
        summary="List entries of bank statements",
    )
    async def list_entries(
        call: Read,
        page: PageDep,
        state: Annotated[EntryStateText | None, Query()] = None,
        bank_statement_id: Annotated[StatementId | None, Query()] = None,
        direction: Annotated[DirectionText | None, Query()] = None,
    ) -> Response:
        """`state=unmatched` is the list for a person, each entry with the invoices that it may pay."""

        async def work(uow: BillingUnitOfWork) -> Slice[BankStatementEntryBody]:
            found = await PaymentQueries(uow).list_entries(
                page, state=state, statement_id=bank_statement_id, direction=direction
            )
            return found.map(BankStatementEntryBody.from_view)

        return await call.page(work)

    @router.get(
        "/bank-statement-entries/{entry_id}", response_model=BankStatementEntryBody, summary="Show an entry"
    )
    async def get_entry(entry_id: EntryId, call: Read) -> Response:
        async def work(uow: BillingUnitOfWork) -> BankStatementEntryBody:
            return BankStatementEntryBody.from_view(await PaymentQueries(uow).get_entry(entry_id))

        return await call.read(work)

    @router.post(
        "/bank-statement-entries/{entry_id}/match",
        response_model=BankStatementEntryBody,
        summary="Say what an entry pays",
    )
    async def post_match(entry_id: EntryId, body: EntryMatchBody, call: Settle) -> Response:
        """Invoices, or a customer's balance; of money that was taken back, the payment. The account is learned."""

        async def work(uow: BillingUnitOfWork) -> BankStatementEntryBody:
            call.require_version((await uow.bank_statement_entries.get_for_update(entry_id)).version)
            entry = await match_entry(body.to_command(entry_id, clock.system_now()), uow=uow)
            return await shown(entry, uow)

        return await call.once(work, status=200)

    @router.post(
        "/bank-statement-entries/{entry_id}/ignore",
        response_model=BankStatementEntryBody,
        summary="Say that an entry is no customer's",
    )
    async def post_ignore(entry_id: EntryId, body: EntryReasonBody, call: Settle) -> Response:
        async def work(uow: BillingUnitOfWork) -> BankStatementEntryBody:
            call.require_version((await uow.bank_statement_entries.get_for_update(entry_id)).version)
            entry = await ignore_entry(entry_id, reason=body.reason, now=clock.system_now(), uow=uow)
            return await shown(entry, uow)

        return await call.once(work, status=200)

    @router.post(
        "/bank-statement-entries/{entry_id}/unmatch",
        response_model=BankStatementEntryBody,
        summary="Take back what was said of an entry",
    )
    async def post_unmatch(entry_id: EntryId, body: EntryReasonBody, call: Settle) -> Response:
        """By whomever it was matched, or ignored: what it paid is due again."""

        async def work(uow: BillingUnitOfWork) -> BankStatementEntryBody:
            call.require_version((await uow.bank_statement_entries.get_for_update(entry_id)).version)
            entry = await unmatch_entry(entry_id, reason=body.reason, now=clock.system_now(), uow=uow)
            return await shown(entry, uow)

        return await call.once(work, status=200)

    return router


def _columns(given: list[str]) -> dict[str, str]:
    """Raises: BankStatementUnreadable."""
    faults: list[InputError] = [
        {"pointer": "/columns", "detail": f"{one[:60]!r} is not written as column:header"}
        for one in given
        if ":" not in one
    ]
    if faults:
        raise BankStatementUnreadable("the columns cannot be read", errors=faults)
    return {name: header for name, _, header in (one.partition(":") for one in given)}


def _format_of(content_type: str, content: bytes) -> StatementFormat:
    """What is said, or else what it looks like."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.endswith("xml"):
        return "camt.053"
    if media_type == "text/csv":
        return "csv"
    return "camt.053" if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" else "csv"


def _read(format: StatementFormat, content: bytes, options: CsvOptions) -> list[ToldStatement]:
    return read_camt053(content) if format == "camt.053" else read_statement_csv(content, options)

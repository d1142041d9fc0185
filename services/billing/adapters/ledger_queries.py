"""The ledger read: every balance is a sum over entries, made when it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date, datetime
from typing import Any

import asyncpg
from sqlalchemy import ColumnElement, RowMapping, Select, case, func, literal, select, text, tuple_

from libs.common.money import Money
from libs.common.paging import PageRequest, Position, Slice
from libs.common.periods import Interval, boundary
from libs.common.persistence.base import raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.application.ledger_views import (
    AccountBalance,
    AccountStatement,
    DeferredMonth,
    InvoiceSchedule,
    LedgerAccountNotFound,
    LedgerCurrencyNeeded,
    RevenueRollForward,
    StatementEntry,
    StillToBeEarned,
    TrialBalance,
)
from services.billing.application.queries import LedgerEntryView
from services.billing.domain.invoice import InvoiceNotFound
from services.billing.domain.ledger_entry import ACCOUNT_TYPES, ACCOUNTS, Account, moment
from services.billing.domain.revenue_schedule import EarnedPart, earned_line_of, schedule_of
from services.billing.domain.verification import InvoiceNotIssued

_INCOME = [account for account, type in ACCOUNT_TYPES.items() if type == "income"]
_LEDGER = rows.ledger_entry.c
FETCHED_AT_ONCE = 1_000

# Of what is still to be earned: what documents bill ahead, what falls due, and what voids and credit notes take back.
_ROLL_FORWARD = """
SELECT currency, date_trunc('month', posted_on)::date AS month_on,
       coalesce(-sum(deferred) FILTER (WHERE is_bill), 0) AS billed,
       coalesce(sum(deferred) FILTER (WHERE is_earned), 0) AS earned, -sum(deferred) AS moved, -sum(income) AS recognized
FROM (SELECT currency, posted_on, posting_key LIKE 'invoice\\:%\\:final' AS is_bill,
             posting_key LIKE 'invoice\\:%\\:earned\\:%' AS is_earned,
             CASE WHEN account = 'contract_liability' THEN amount_minor ELSE 0 END AS deferred,
             CASE WHEN account = 'contract_liability' THEN 0 ELSE amount_minor END AS income
      FROM ledger_entry
      WHERE account = ANY(CAST(:accounts AS text[])) AND posted_on >= :start_on AND posted_on < :end_on) AS told
GROUP BY 1, 2 ORDER BY 1, 2
"""
_DEFERRED_BEFORE = """
SELECT currency, -sum(amount_minor) AS deferred FROM ledger_entry
WHERE account = 'contract_liability' AND posted_on < :start_on GROUP BY 1 HAVING sum(amount_minor) <> 0
"""
# What is billed by then, and earned after it: the earned sets of documents that are dated before `end_on`.
_STILL_TO_BE_EARNED = """
SELECT e.currency,
       coalesce(sum(e.amount_minor) FILTER (WHERE e.posted_on < :year_later), 0) AS within_12_months,
       coalesce(sum(e.amount_minor) FILTER (WHERE e.posted_on >= :year_later), 0) AS later
FROM ledger_entry e
WHERE e.account = 'contract_liability' AND e.posted_on >= :end_on AND EXISTS (
    SELECT FROM ledger_entry f WHERE f.posting_key = 'invoice\\:' || e.invoice_id || '\\:final' AND f.posted_on < :end_on)
GROUP BY 1
"""
_EXPORTED = """
SELECT e.posting_key, e.ordinal, e.posted_on, e.posted_at, e.account, e.amount_minor, e.currency, e.invoice_id,
       i.number AS invoice_number, i.customer_id, e.attempt_id, e.balance_entry_id, e.source_id
FROM ledger_entry e LEFT JOIN invoice i ON i.id = e.invoice_id
WHERE e.posted_on >= $1 AND e.posted_on < $2
ORDER BY e.posted_on, e.posted_at, e.posting_key, e.ordinal
"""
_INVOICE_LINES = """
SELECT i.id, i.number, i.document_kind, i.status, i.issued_at, i.due_on, i.customer_id,
       i.customer->>'name' AS customer_name, i.seller->>'code' AS seller_code, i.currency, i.purchase_order,
       i.subtotal_minor, i.discount_minor AS all_discount_minor, i.net_minor AS all_net_minor, i.tax_minor,
       i.total_minor, i.credits_applied_minor, i.balance_applied_minor, i.paid_minor, i.credited_minor,
       l.id AS line_id, l.ordinal, l.description, l.service_start_on, l.service_end_on, l.quantity, l.unit_amount,
       l.amount_minor, l.prepaid_minor, l.discount_minor, l.net_minor, l.tax_category, l.tax_percent, l.line_tax_minor,
       l.subscription_id, l.item_id, l.price_id, l.product_id, l.plan_code, l.charge_id, l.corrects_line_id
FROM invoice i LEFT JOIN invoice_line l ON l.invoice_id = i.id AND l.tenant = i.tenant
WHERE i.number IS NOT NULL AND i.issued_at >= $1 AND i.issued_at < $2
ORDER BY i.issued_at, i.id, l.ordinal
"""


class LedgerQueries:
    """On one transaction, of one tenant: row policies see to it that nothing else is there."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._connection = uow.connection
        self._clock = uow.machinery.known_clock

    async def latest_now(self, system_now: datetime) -> datetime:
        """Now, or what the test clock that is furthest ahead takes for it."""
        furthest = (await self._connection.execute(select(func.max(self._clock.c.now)))).scalar()
        return system_now if furthest is None else max(system_now, furthest)

    async def trial_balance(self, *, at: date | None, now: datetime) -> TrialBalance:
        """At the close of the date `at`; without one, of all that has been posted until `now`."""
        debit = func.sum(case((_LEDGER.amount_minor > 0, _LEDGER.amount_minor), else_=0))
        credit = func.sum(case((_LEDGER.amount_minor < 0, -_LEDGER.amount_minor), else_=0))
        until = _LEDGER.posted_at <= now if at is None else _LEDGER.posted_on <= at
        sums = (
            select(_LEDGER.account, _LEDGER.currency, debit.label("debits"), credit.label("credits"))
            .where(until)
            .group_by(_LEDGER.account, _LEDGER.currency)
            .order_by(_LEDGER.currency, _LEDGER.account)
        )
        found = await self._connection.execute(sums)
        accounts = tuple(
            AccountBalance(
                row.account, Money(int(row.debits), row.currency), Money(int(row.credits), row.currency)
            )
            for row in found
        )
        return TrialBalance(at=at, as_of=now if at is None else None, accounts=accounts)

    async def balances_before(self, on: date) -> dict[tuple[Account, str], int]:
        """What each account came to before that date, in minor units; those of nothing are left out."""
        balance = func.sum(_LEDGER.amount_minor)
        sums = select(_LEDGER.account, _LEDGER.currency, balance).where(_LEDGER.posted_on < on)
        sums = sums.group_by(_LEDGER.account, _LEDGER.currency).having(balance != 0)
        return {
            (account, currency): int(minor)
            for account, currency, minor in await self._connection.execute(sums)
        }

    async def statement(
        self,
        account: str,
        page: PageRequest,
        *,
        currency: str | None,
        start_on: date | None,
        end_on: date | None,
    ) -> AccountStatement:
        """The entries from `start_on` until before `end_on`, in the order in which they are posted.

        Raises: LedgerAccountNotFound, LedgerCurrencyNeeded.
        """
        known = await self._account(account)
        told = currency or await self._only_currency(known)
        mine = (_LEDGER.account == known) & (_LEDGER.currency == told)
        within: list[ColumnElement[bool]] = [mine]
        opening = 0
        if start_on is not None:
            within.append(_LEDGER.posted_on >= start_on)
            opening = await self._sum(mine & (_LEDGER.posted_on < start_on))
        if end_on is not None:
            within.append(_LEDGER.posted_on < end_on)
        closing = opening + await self._sum(*within)
        running = opening
        statement: Select[Any] = select(rows.ledger_entry).where(*within)
        if page.after is not None:
            place = tuple_(literal(page.after.created_at), literal(page.after.id))
            read = tuple_(_LEDGER.posted_at, _LEDGER.posting_key) <= place
            running += await self._sum(*within, read)
            statement = statement.where(~read)
        statement = statement.order_by(_LEDGER.posted_at, _LEDGER.posting_key).limit(page.limit + 1)
        found = (await self._connection.execute(statement)).mappings().all()
        entries = []
        for row in found[: page.limit]:
            running += row["amount_minor"]
            entries.append(
                StatementEntry(
                    posting=row["posting_key"],
                    posted_at=row["posted_at"],
                    posted_on=row["posted_on"],
                    amount=Money(row["amount_minor"], told),
                    after=Money(running, told),
                    invoice_id=row["invoice_id"],
                    attempt_id=row["attempt_id"],
                    balance_entry_id=row["balance_entry_id"],
                    source_id=row["source_id"],
                )
            )
        last = entries[-1] if len(found) > page.limit else None
        return AccountStatement(
            account=known,
            start_on=start_on,
            end_on=end_on,
            opening=Money(opening, told),
            closing=Money(closing, told),
            entries=tuple(entries),
            next=None if last is None else Position(last.posted_at, last.posting),
        )

    async def list_entries(
        self,
        page: PageRequest,
        *,
        invoice_id: str | None,
        customer_id: str | None,
        account: str | None,
        posting: str | None,
        start_on: date | None,
        end_on: date | None,
    ) -> Slice[LedgerEntryView]:
        statement: Select[Any] = select(rows.ledger_entry)
        if invoice_id is not None:
            statement = statement.where(_LEDGER.invoice_id == invoice_id)
        if customer_id is not None:
            theirs = select(rows.invoice.c.id).where(rows.invoice.c.customer_id == customer_id)
            statement = statement.where(_LEDGER.invoice_id.in_(theirs))
        if account is not None:
            statement = statement.where(_LEDGER.account == account)
        if posting is not None:
            statement = statement.where(_LEDGER.posting_key == posting)
        if start_on is not None:
            statement = statement.where(_LEDGER.posted_on >= start_on)
        if end_on is not None:
            statement = statement.where(_LEDGER.posted_on < end_on)
        return await fetch_page(
            self._connection,
            statement,
            created_at=_LEDGER.recorded_at,
            id=func.concat(_LEDGER.posting_key, ":", _LEDGER.ordinal),
            page=page,
            to_view=_entry_view,
        )

    async def invoice_schedule(self, invoice_id: str) -> InvoiceSchedule:
        """Raises: InvoiceNotFound, InvoiceNotIssued."""
        stored = select(rows.invoice).where(rows.invoice.c.id == invoice_id)
        row = (await self._connection.execute(stored)).mappings().first()
        if row is None:
            raise InvoiceNotFound("no invoice has this id")
        invoice = mapping.invoice_from_row(row)
        if invoice.issued_at is None:
            raise InvoiceNotIssued(
                "the invoice is not issued", remedy="Wait until it is finalized.", status=invoice.status
            )
        line = rows.invoice_line.c
        of_it = select(rows.invoice_line).where(line.invoice_id == invoice_id).order_by(line.ordinal)
        lines = [mapping.line_from_row(r) for r in (await self._connection.execute(of_it)).mappings()]
        invoiced_on = moment(invoice.issued_at, invoice.zone).on
        income = func.sum(-_LEDGER.amount_minor)
        by_day = (
            select(_LEDGER.posted_on, income)
            .where(_LEDGER.invoice_id == invoice_id, _LEDGER.account.in_(_INCOME))
            .group_by(_LEDGER.posted_on)
            .order_by(_LEDGER.posted_on)
        )
        return InvoiceSchedule(
            invoice_id=invoice_id,
            invoiced_on=invoiced_on,
            lines=tuple((told, schedule_of(earned_line_of(told), invoiced_on)) for told in lines),
            posted=tuple(
                EarnedPart(on, Money(int(minor), invoice.currency))
                for on, minor in await self._connection.execute(by_day)
            ),
        )

    async def roll_forward(self, start_on: date, end_on: date) -> RevenueRollForward:
        """What is still to be earned, month by month, and what remains at `end_on`; all balances are sums of entries."""
        accounts = ["contract_liability", *_INCOME]
        bounds = {"start_on": start_on, "end_on": end_on}
        before = await self._connection.execute(text(_DEFERRED_BEFORE), {"start_on": start_on})
        deferred = {currency: int(minor) for currency, minor in before}
        months = []
        moved = await self._connection.execute(text(_ROLL_FORWARD), {"accounts": accounts, **bounds})
        for row in moved.mappings():
            currency = row["currency"]
            opening = deferred.get(currency, 0)
            billed, earned, change = int(row["billed"]), int(row["earned"]), int(row["moved"])
            deferred[currency] = opening + change
            months.append(
                DeferredMonth(
                    month_on=row["month_on"],
                    opening=Money(opening, currency),
                    billed=Money(billed, currency),
                    earned=Money(earned, currency),
                    taken_back=Money(billed - earned - change, currency),
                    closing=Money(opening + change, currency),
                    recognized=Money(int(row["recognized"]), currency),
                )
            )
        year_later = boundary(end_on, Interval("year"), 1)
        still = await self._connection.execute(
            text(_STILL_TO_BE_EARNED), {"end_on": end_on, "year_later": year_later}
        )
        remaining = tuple(
            StillToBeEarned(
                Money(int(row["within_12_months"]), row["currency"]),
                Money(int(row["later"]), row["currency"]),
            )
            for row in still.mappings()
        )
        return RevenueRollForward(start_on, end_on, tuple(months), remaining)

    async def currencies(self, start_on: date, end_on: date) -> list[tuple[Account, str]]:
        """Which accounts have entries in that time, in which currency."""
        used = (
            select(_LEDGER.account, _LEDGER.currency)
            .where(_LEDGER.posted_on >= start_on, _LEDGER.posted_on < end_on)
            .distinct()
        )
        return [(account, currency) for account, currency in await self._connection.execute(used)]

    def entries(self, start_on: date, end_on: date) -> AsyncIterator[list[Mapping[str, Any]]]:
        """All entries of that time, by date, a thousand at once; a posting's follow each other."""
        return self._cursor(_EXPORTED, start_on, end_on)

    def invoice_lines(self, start: datetime, end: datetime) -> AsyncIterator[list[Mapping[str, Any]]]:
        """The lines of what was issued in that time, in order, a thousand at once."""
        return self._cursor(_INVOICE_LINES, start, end)

    async def _cursor(self, statement: str, *values: object) -> AsyncIterator[list[Mapping[str, Any]]]:
        driver = await raw(self._connection)
        cursor: asyncpg.cursor.Cursor[Any] = await driver.cursor(statement, *values)
        while found := await cursor.fetch(FETCHED_AT_ONCE):
            yield found

    async def _account(self, account: str) -> Account:
        for known in ACCOUNTS:
            if known == account:
                return known
        raise LedgerAccountNotFound("no account has this name", known=", ".join(ACCOUNTS))

    async def _only_currency(self, account: Account) -> str:
        used = select(_LEDGER.currency).where(_LEDGER.account == account).distinct().limit(2)
        found = list((await self._connection.execute(used)).scalars())
        if len(found) == 1:
            return str(found[0])
        if not found:
            raise LedgerAccountNotFound("the account has no entries yet", pointer="/account")
        raise LedgerCurrencyNeeded(
            "the account has entries in several currencies",
            pointer="/currency",
            remedy="Name one in the parameter currency.",
        )

    async def _sum(self, *conditions: ColumnElement[bool]) -> int:
        total = select(func.coalesce(func.sum(_LEDGER.amount_minor), 0)).where(*conditions)
        return int((await self._connection.execute(total)).scalar_one())


def _entry_view(row: RowMapping) -> LedgerEntryView:
    return LedgerEntryView(
        id=f"{row['posting_key']}:{row['ordinal']}",
        posting=row["posting_key"],
        account=row["account"],
        amount=Money(row["amount_minor"], row["currency"]),
        posted_at=row["posted_at"],
        posted_on=row["posted_on"],
        invoice_id=row["invoice_id"],
        attempt_id=row["attempt_id"],
        balance_entry_id=row["balance_entry_id"],
        source_id=row["source_id"],
    )

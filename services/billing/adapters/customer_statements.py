"""Statements of account, read from the ledger: every amount is a sum over entries, made when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from sqlalchemy import RowMapping, text

from libs.common.money import Money
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.domain.customer_statement import (
    ENTRIES_MAX,
    AccountMovement,
    CustomerHasNoSeller,
    CustomerStatement,
    OpenInvoice,
    StatedAccount,
    StatementTooLong,
    stated_account,
)
from services.billing.domain.seller import Seller

ONE_DAY = timedelta(days=1)

# Every entry on an account that says what the customer owes, or is owed. By index: of invoices, of adjustments of
# balances by their key, of payments and refunds by what they are about. What is given back of deposits was never charged.
_MINE = """
mine AS (
  SELECT e.posting_key, e.posted_on, e.posted_at, e.account, e.currency, e.amount_minor, e.invoice_id, e.source_id
  FROM ledger_entry e JOIN invoice i ON i.tenant = e.tenant AND i.id = e.invoice_id
  WHERE i.customer_id = :customer_id AND e.account = ANY(CAST(:accounts AS text[])) AND e.posted_on < :end_on
  UNION ALL
  SELECT e.posting_key, e.posted_on, e.posted_at, e.account, e.currency, e.amount_minor, e.invoice_id, e.source_id
  FROM customer_balance b
  JOIN customer_balance_entry m ON m.tenant = b.tenant AND m.balance_id = b.id
  JOIN ledger_entry e ON e.tenant = m.tenant AND e.posting_key = 'balance\\:' || m.id || '\\:adjusted'
  WHERE b.customer_id = :customer_id AND e.account = 'customer_credit' AND e.posted_on < :end_on
  UNION ALL
  SELECT e.posting_key, e.posted_on, e.posted_at, e.account, e.currency, e.amount_minor, e.invoice_id, e.source_id
  FROM (SELECT tenant, id FROM payment WHERE customer_id = :customer_id
        UNION ALL SELECT tenant, id FROM refund WHERE customer_id = :customer_id AND deposit_id IS NULL) AS s
  JOIN ledger_entry e ON e.tenant = s.tenant AND e.source_id = s.id
  WHERE e.invoice_id IS NULL AND e.account = ANY(CAST(:accounts AS text[])) AND e.posted_on < :end_on
)
"""
_OPENING = f"""
WITH {_MINE}
SELECT currency, sum(amount_minor) AS owed FROM mine WHERE posted_on < :start_on GROUP BY 1
"""
_MOVEMENTS = f"""
WITH {_MINE}, moved AS (
  SELECT posting_key, currency, min(posted_on) AS posted_on, min(posted_at) AS posted_at, max(invoice_id) AS invoice_id,
         max(source_id) AS source_id, sum(amount_minor) AS change
  FROM mine WHERE posted_on >= :start_on GROUP BY posting_key, currency HAVING sum(amount_minor) <> 0
)
SELECT m.*, i.number AS invoice_number, i.due_on, n.number AS note_number
FROM moved m LEFT JOIN invoice i ON i.id = m.invoice_id LEFT JOIN credit_note n ON n.id = m.source_id
ORDER BY m.currency, m.posted_on, m.posted_at, m.posting_key LIMIT :entries_max
"""
_OPEN = f"""
WITH {_MINE}
SELECT m.currency, i.number, i.due_on, sum(m.amount_minor) AS open
FROM mine m JOIN invoice i ON i.id = m.invoice_id WHERE m.account = 'accounts_receivable'
GROUP BY m.currency, i.id, i.number, i.due_on HAVING sum(m.amount_minor) <> 0
"""
_ACCOUNTS = ["accounts_receivable", "customer_credit", "refunds_payable", "unapplied_payments"]


class CustomerStatements:
    def __init__(self, uow: BillingUnitOfWork) -> None:
        self._uow = uow

    async def get(self, customer_id: str, *, start_on: date, end_on: date) -> CustomerStatement:
        """Raises: CustomerNotFound, CustomerHasNoSeller, StatementTooLong."""
        customer = await self._uow.customers.find(customer_id)
        if customer is None:
            raise CustomerNotFound("no customer has this id")
        profile = await self._uow.billing_profiles.find(customer_id)
        seller = await self._seller(None if profile is None else profile.seller_id)
        asked = {"customer_id": customer_id, "accounts": _ACCOUNTS, "start_on": start_on, "end_on": end_on}
        opening = {row["currency"]: int(row["owed"]) for row in await self._read(_OPENING, asked)}
        moved = await self._read(_MOVEMENTS, {**asked, "entries_max": ENTRIES_MAX + 1})
        if len(moved) > ENTRIES_MAX:
            raise StatementTooLong(f"more than {ENTRIES_MAX} entries", remedy="Ask for less time at once.")
        unpaid = await self._read(_OPEN, asked)
        currencies = sorted(
            {*opening, *(row["currency"] for row in moved), *(row["currency"] for row in unpaid)}
        )
        delivery = None if profile is None else profile.delivery
        language = (
            (delivery.language if delivery is not None else None)
            or customer.locale
            or (seller.details.language if seller.details is not None else None)
        )
        return CustomerStatement(
            customer=customer,
            seller=seller,
            start_on=start_on,
            end_on=end_on,
            accounts=tuple(
                self._account(currency, opening.get(currency, 0), moved, unpaid, end_on - ONE_DAY)
                for currency in currencies
            ),
            language=language or "en",
        )

    def _account(
        self, currency: str, opening: int, moved: list[RowMapping], unpaid: list[RowMapping], last_on: date
    ) -> StatedAccount:
        return stated_account(
            currency,
            Money(opening, currency),
            [_movement(row) for row in moved if row["currency"] == currency],
            [
                OpenInvoice(row["number"], row["due_on"], Money(int(row["open"]), currency))
                for row in unpaid
                if row["currency"] == currency
            ],
            last_on=last_on,
        )

    async def _seller(self, id: str | None) -> Seller:
        found = await (self._uow.sellers.find_default() if id is None else self._uow.sellers.find(id))
        if found is None:
            raise CustomerHasNoSeller(
                "no seller issues this customer's documents yet", remedy="Add a seller."
            )
        return found

    async def _read(self, statement: str, parameters: Mapping[str, Any]) -> list[RowMapping]:
        return list((await self._uow.connection.execute(text(statement), parameters)).mappings())


def _movement(row: RowMapping) -> AccountMovement:
    is_note = row["posting_key"].startswith("credit_note:")
    return AccountMovement(
        posting=row["posting_key"],
        posted_on=row["posted_on"],
        change=Money(int(row["change"]), row["currency"]),
        document_id=row["source_id"] if is_note else row["invoice_id"],
        number=row["note_number"] if is_note else row["invoice_number"],
        due_on=None if is_note else row["due_on"],
    )

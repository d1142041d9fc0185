"""The ledger and invoices as files for other programs: comma-separated values, and a journal for Beancount."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from libs.common.money import Money
from libs.common.web.bodies import decimal_text, instant_text
from libs.common.web.csv_text import csv_line, csv_text
from services.billing.domain.ledger_entry import ACCOUNT_TYPES, Account

Rows = AsyncIterator[list[Mapping[str, Any]]]

LEDGER_COLUMNS = (
    "posting",
    "posted_on",
    "posted_at",
    "account",
    "account_type",
    "debit",
    "credit",
    "amount",
    "currency",
    "invoice_id",
    "invoice_number",
    "customer_id",
    "payment_attempt_id",
    "customer_balance_entry_id",
    "source_id",
)
INVOICE_COLUMNS = (
    "invoice_id",
    "invoice_number",
    "document_kind",
    "status",
    "issued_at",
    "due_on",
    "seller",
    "customer_id",
    "customer_name",
    "purchase_order",
    "currency",
    "invoice_subtotal",
    "invoice_discount",
    "invoice_net",
    "invoice_tax",
    "invoice_total",
    "credits_applied",
    "balance_applied",
    "paid",
    "credited",
    "due",
    "line_number",
    "line_id",
    "description",
    "service_start_on",
    "service_end_on",
    "quantity",
    "unit_amount",
    "line_amount",
    "line_prepaid",
    "line_discount",
    "line_net",
    "tax_category",
    "tax_percent",
    "line_tax",
    "subscription_id",
    "item_id",
    "price_id",
    "product_id",
    "plan",
    "charge_id",
    "corrects_line_id",
)
_TYPES = {"asset": "Assets", "liability": "Liabilities", "income": "Income", "expense": "Expenses"}


async def ledger_csv(pages: Rows) -> AsyncIterator[bytes]:
    """One record for each entry. `debit` and `credit` are positive, one of them empty; `amount` is their difference."""
    yield csv_line(LEDGER_COLUMNS).encode()
    async for page in pages:
        yield "".join(csv_line(_entry(row)) for row in page).encode()


def _entry(row: Mapping[str, Any]) -> Iterable[str]:
    minor, currency = row["amount_minor"], row["currency"]
    amount = _amount(abs(minor), currency)
    return (
        row["posting_key"],
        row["posted_on"].isoformat(),
        instant_text(row["posted_at"]),
        row["account"],
        ACCOUNT_TYPES[row["account"]],
        amount if minor > 0 else "",
        amount if minor < 0 else "",
        _amount(minor, currency),
        currency,
        row["invoice_id"] or "",
        csv_text(row["invoice_number"]),
        row["customer_id"] or "",
        row["attempt_id"] or "",
        row["balance_entry_id"] or "",
        row["source_id"] or "",
    )


async def invoices_csv(pages: Rows) -> AsyncIterator[bytes]:
    """One record for each line, with its document before it; a document without lines has one record without a line."""
    yield csv_line(INVOICE_COLUMNS).encode()
    async for page in pages:
        yield "".join(csv_line([*_document(row), *_line(row)]) for row in page).encode()


def _document(row: Mapping[str, Any]) -> Iterable[str]:
    due = row["total_minor"] - row["credits_applied_minor"] - row["balance_applied_minor"]
    due -= row["paid_minor"] + row["credited_minor"]
    if row["status"] in ("void", "uncollectible"):
        due = 0
    amounts = (
        row["subtotal_minor"],
        row["all_discount_minor"],
        row["all_net_minor"],
        row["tax_minor"],
        row["total_minor"],
        row["credits_applied_minor"],
        row["balance_applied_minor"],
        row["paid_minor"],
        row["credited_minor"],
        due,
    )
    return (
        row["id"],
        csv_text(row["number"]),
        row["document_kind"],
        row["status"],
        instant_text(row["issued_at"]),
        row["due_on"].isoformat() if row["due_on"] else "",
        csv_text(row["seller_code"]),
        row["customer_id"],
        csv_text(row["customer_name"]),
        csv_text(row["purchase_order"]),
        row["currency"],
        *(_amount(minor, row["currency"]) for minor in amounts),
    )


def _line(row: Mapping[str, Any]) -> Sequence[str]:
    if row["line_id"] is None:
        return [""] * (len(INVOICE_COLUMNS) - INVOICE_COLUMNS.index("line_number"))
    currency, tax = row["currency"], row["line_tax_minor"]
    return (
        str(row["ordinal"]),
        row["line_id"],
        csv_text(row["description"]),
        row["service_start_on"].isoformat(),
        row["service_end_on"].isoformat(),
        decimal_text(row["quantity"]),
        decimal_text(row["unit_amount"]),
        *(
            _amount(row[name], currency)
            for name in ("amount_minor", "prepaid_minor", "discount_minor", "net_minor")
        ),
        row["tax_category"],
        decimal_text(row["tax_percent"]),
        "" if tax is None else _amount(tax, currency),
        *(
            csv_text(row[name])
            for name in (
                "subscription_id",
                "item_id",
                "price_id",
                "product_id",
                "plan_code",
                "charge_id",
                "corrects_line_id",
            )
        ),
    )


async def beancount_journal(
    pages: Rows,
    *,
    used: Iterable[tuple[Account, str]],
    opening: Mapping[tuple[Account, str], int],
    start_on: date | None,
) -> AsyncIterator[bytes]:
    """A journal that `bean-check` accepts: accounts opened, balances brought forward, postings, balances asserted.

    `used` are the accounts of the entries, each with a currency; `opening` is what the accounts came to before
    `start_on`, in minor units. What the accounts come to is asserted on the day after the last entry.
    """
    balances = dict(opening)
    begin = start_on or date(1970, 1, 1)
    yield _opened({*used, *opening}, begin).encode()
    if opening:
        yield _brought_forward(opening, begin).encode()
    last, key = begin, ""
    async for page in pages:
        told: list[str] = []
        for row in page:
            if row["posting_key"] != key:
                key, last = row["posting_key"], max(last, row["posted_on"])
                told.append(_transaction(row))
            told.append(_posting(row["account"], row["amount_minor"], row["currency"]))
            account = row["account"], row["currency"]
            balances[account] = balances.get(account, 0) + row["amount_minor"]
        yield "".join(told).encode()
    yield _asserted(balances, last + timedelta(days=1)).encode()


def _opened(used: Iterable[tuple[Account, str]], on: date) -> str:
    currencies: dict[Account, set[str]] = {}
    for account, currency in used:
        currencies.setdefault(account, set()).add(currency)
    known = sorted({currency for named in currencies.values() for currency in named})
    told = ['option "title" "Perennial"\n']
    told += [f'option "operating_currency" "{currency}"\n' for currency in known]
    told += [f"\n{on} commodity {currency}\n" for currency in known]
    told.append("\n")
    for account in sorted(currencies):
        told.append(f"{on} open {_name(account)} {','.join(sorted(currencies[account]))}\n")
    return "".join(told)


def _brought_forward(opening: Mapping[tuple[Account, str], int], on: date) -> str:
    """What all accounts come to sums to zero, as every posting does."""
    told = [f'\n{on} * "Balances brought forward"\n']
    told += [_posting(account, minor, currency) for (account, currency), minor in _sorted(opening)]
    return "".join(told)


def _transaction(row: Mapping[str, Any]) -> str:
    payee = f"{_quoted(row['invoice_number'])} " if row["invoice_number"] else ""
    told = [f"\n{row['posted_on']} * {payee}{_quoted(row['posting_key'])}\n"]
    told.append(f"  posting: {_quoted(row['posting_key'])}\n")
    told.append(f'  posted_at: "{instant_text(row["posted_at"])}"\n')
    for name in ("invoice_id", "customer_id", "attempt_id", "balance_entry_id", "source_id"):
        if row[name] is not None:
            told.append(f"  {name}: {_quoted(row[name])}\n")
    return "".join(told)


def _asserted(balances: Mapping[tuple[Account, str], int], on: date) -> str:
    told = ["\n"]
    for (account, currency), minor in _sorted(balances):
        told.append(f"{on} balance {_name(account)} {_amount(minor, currency)} {currency}\n")
    return "".join(told)


def _posting(account: Account, minor: int, currency: str) -> str:
    return f"  {_name(account)}  {_amount(minor, currency)} {currency}\n"


def _sorted(
    balances: Mapping[tuple[Account, str], int],
) -> Iterable[tuple[tuple[Account, str], int]]:
    return sorted(balances.items())


def _name(account: Account) -> str:
    words = "-".join(word.capitalize() for word in account.split("_"))
    return f"{_TYPES[ACCOUNT_TYPES[account]]}:{words}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _amount(minor: int, currency: str) -> str:
    return format(Money(minor, currency).to_decimal(), "f")

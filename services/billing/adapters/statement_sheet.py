"""A statement of account as finished text, for the template to set."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from libs.common.money import Money
from services.billing.adapters.document_sheet import Sheet, breakable, frame_of, total_row
from services.billing.adapters.document_texts import Texts, isolated, texts_in
from services.billing.domain.customer_statement import (
    AGES_DAYS,
    AccountMovement,
    CustomerStatement,
    StatedAccount,
)
from services.billing.domain.seller_logo import SellerLogo

ONE_DAY = timedelta(days=1)


def statement_sheet(
    statement: CustomerStatement, *, logo: SellerLogo | None = None, language: str | None = None
) -> Sheet:
    """In `language`, or in the customer's."""
    texts = texts_in(language or statement.language)
    files: dict[str, bytes] = {}
    last_on = statement.end_on - ONE_DAY
    buyer, details = statement.customer, statement.seller.details
    several = len(statement.accounts) > 1
    content: dict[str, Any] = {
        **frame_of(
            statement.seller,
            buyer,
            texts,
            bank=None if details is None else details.bank,
            heading=texts("statement"),
            dated_on=last_on,
            with_tax_number=True,
            logo=logo,
            files=files,
        ),
        "facts": [
            [texts("period"), texts.dates(statement.start_on, last_on)],
            [texts("customer_number"), isolated(breakable(buyer.external_id or buyer.id))],
        ],
        "intro": [],
        "notes": [],
        "payment": None,
        "accounts": [_account(account, statement, texts, named=several) for account in statement.accounts],
    }
    return Sheet("statement", content, last_on, files)


def _account(
    account: StatedAccount, statement: CustomerStatement, texts: Texts, *, named: bool
) -> dict[str, Any]:
    currency = account.currency
    rows = [
        _row(texts.date(statement.start_on), texts("opening_balance"), "", "", texts.amount(account.opening))
    ]
    for entry in account.entries:
        change, movement = entry.movement.change, entry.movement
        owed = change.amount_minor > 0
        rows.append(
            _row(
                texts.date(movement.posted_on),
                isolated(_told(movement, texts)),
                texts.amount(change) if owed else "",
                "" if owed else texts.amount(-change),
                texts.amount(entry.balance),
                details=_details(movement, texts),
            )
        )
    totals = [total_row(texts("closing_balance"), texts.money(account.closing), "due")]
    credit = account.credit
    return {
        "name": currency if named else None,
        "head": [
            texts("date"),
            texts("document"),
            texts("charged"),
            texts("settled"),
            f"{texts('balance')} ({currency})",
        ],
        "rows": rows,
        "totals": totals,
        "aging": _aging(account, texts),
        "words": [texts("statement_balance_used", amount=texts.money(credit))]
        if credit.amount_minor > 0
        else [],
    }


def _row(
    date: str, text: str, charged: str, settled: str, balance: str, *, details: list[str] | None = None
) -> dict[str, Any]:
    return {
        "date": date,
        "text": text,
        "charged": charged,
        "settled": settled,
        "balance": balance,
        "details": details or [],
    }


def _told(movement: AccountMovement, texts: Texts) -> str:
    kind, number = movement.kind, movement.number
    document = f"{texts('invoice')} {number}" if number else texts("statement_other")
    if kind == "invoice":
        return document
    if kind == "invoice_voided":
        return texts("statement_voided", document=document)
    if kind == "invoice_written_off":
        return texts("statement_written_off", document=document)
    if kind == "credit_note":
        return f"{texts('credit_note')} {number}"
    words = {
        "payment": "statement_payment",
        "payment_reversed": "statement_payment_reversed",
        "refund": "statement_refund",
        "prepaid_credits": "credits_applied",
        "deposit_set_off": "statement_deposit",
        "adjustment": "statement_adjustment",
    }
    name = texts(words.get(kind, "statement_other"))
    return f"{name}, {number}" if number else name


def _details(movement: AccountMovement, texts: Texts) -> list[str]:
    if movement.kind != "invoice" or movement.due_on is None:
        return []
    return [texts("statement_due", date=texts.date(movement.due_on))]


def _aging(account: StatedAccount, texts: Texts) -> dict[str, Any] | None:
    aging = account.aging
    if not any(amount.amount_minor for amount in (aging.not_due, *aging.overdue)):
        return None
    starts = [1, *(days + 1 for days in AGES_DAYS)]
    heads = [
        texts("aging_days", **{"from": str(start), "to": str(end)})
        for start, end in zip(starts, AGES_DAYS, strict=False)
    ]
    amounts: list[Money] = [aging.not_due, *aging.overdue, aging.open]
    return {
        "title": texts("aging"),
        "head": [
            texts("aging_not_due"),
            *heads,
            texts("aging_beyond", days=str(AGES_DAYS[-1])),
            texts("aging_total"),
        ],
        "amounts": [texts.amount(amount) for amount in amounts],
    }

"""The ledger: every set of entries balances, and says what was earned and what is still to be delivered."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import CurrencyMismatch, Money
from services.billing.domain.ledger_entry import (
    LedgerEntry,
    PostedLine,
    entries_for_adjustment,
    entries_for_balance_applied,
    entries_for_invoice,
    entries_for_payment,
    imbalance,
)

APRIL_FIRST = date(2026, 4, 1)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def by_account(entries: tuple[LedgerEntry, ...]) -> dict[str, int]:
    return {entry.account: entry.amount.amount_minor for entry in entries}


def test_what_is_ahead_is_owed_and_what_is_behind_is_earned() -> None:
    entries = entries_for_invoice(
        "inv_1",
        invoiced_on=APRIL_FIRST,
        lines=[
            PostedLine(eur(131200), APRIL_FIRST),
            PostedLine(eur(36593), date(2026, 3, 1)),
            PostedLine(eur(6458), date(2026, 3, 1)),
        ],
        tax=eur(36593),
    )
    assert by_account(entries) == {
        "accounts_receivable": 210844,
        "contract_liability": -131200,
        "revenue": -43051,
        "tax_payable": -36593,
    }
    assert {entry.posting for entry in entries} == {"invoice:inv_1:final"}


@pytest.mark.parametrize(
    ("applied", "owed"),
    [
        (2500, {"customer_credit": 2500, "accounts_receivable": -2500}),
        (-900, {"customer_credit": -900, "accounts_receivable": 900}),
        (0, {}),
    ],
)
def test_what_a_balance_pays_is_owed_no_more(applied: int, owed: dict[str, int]) -> None:
    entries = entries_for_balance_applied("inv_1", eur(applied))
    assert by_account(entries) == owed
    assert {entry.posting for entry in entries} <= {"invoice:inv_1:balance"}


def test_goodwill_is_owed_to_the_customer() -> None:
    entries = entries_for_adjustment("ben_1", eur(700))
    assert by_account(entries) == {"goodwill": 700, "customer_credit": -700}
    assert {entry.posting for entry in entries} == {"balance:ben_1:adjusted"}


@pytest.mark.parametrize(
    ("service_start_on", "account"),
    [
        (date(2026, 3, 31), "revenue"),
        (date(2026, 4, 1), "contract_liability"),
        (date(2026, 4, 2), "contract_liability"),
        (None, "revenue"),
    ],
    ids=["begun_before", "begins_today", "begins_later", "no_period"],
)
def test_the_day_of_the_invoice_is_the_edge(service_start_on: date | None, account: str) -> None:
    lines = [PostedLine(eur(100), service_start_on)]
    entries = entries_for_invoice("inv_1", invoiced_on=APRIL_FIRST, lines=lines, tax=eur(0))
    assert by_account(entries) == {"accounts_receivable": 100, account: -100}


def test_a_credit_turns_the_sides() -> None:
    lines = [PostedLine(eur(-100), date(2026, 3, 1))]
    entries = entries_for_invoice("inv_1", invoiced_on=APRIL_FIRST, lines=lines, tax=eur(-21))
    assert by_account(entries) == {"accounts_receivable": -121, "revenue": 100, "tax_payable": 21}


def test_a_payment_settles_what_the_customer_owed() -> None:
    entries = entries_for_payment("pay_1", eur(12100))
    assert by_account(entries) == {"cash": 12100, "accounts_receivable": -12100}
    assert {entry.posting for entry in entries} == {"payment:pay_1:received"}


def test_an_invoice_has_one_currency() -> None:
    with pytest.raises(CurrencyMismatch):
        entries_for_invoice("inv_1", invoiced_on=APRIL_FIRST, lines=[PostedLine(eur(1))], tax=Money(0, "USD"))


posted_lines = st.lists(
    st.builds(
        PostedLine,
        st.integers(-(10**9), 10**9).map(eur),
        st.one_of(st.none(), st.dates(date(2026, 3, 1), date(2026, 5, 1))),
    )
)


@given(lines=posted_lines, tax=st.integers(-(10**6), 10**6).map(eur))
def test_every_posting_balances_and_posts_each_account_once(lines: list[PostedLine], tax: Money) -> None:
    entries = entries_for_invoice("inv_1", invoiced_on=APRIL_FIRST, lines=lines, tax=tax)
    assert imbalance(entries) == {}
    assert len(by_account(entries)) == len(entries)
    assert all(entry.amount.amount_minor for entry in entries)


def test_imbalance_tells_each_currency_apart() -> None:
    entries = [
        LedgerEntry("x", "cash", Money(5, "EUR")),
        LedgerEntry("x", "revenue", Money(-5, "USD")),
        LedgerEntry("x", "cash", Money(7, "JPY")),
        LedgerEntry("x", "revenue", Money(-7, "JPY")),
    ]
    assert imbalance(entries) == {"EUR": 5, "USD": -5}

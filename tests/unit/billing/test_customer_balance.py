"""What a customer is owed: never below zero, always the sum of its entries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import CurrencyMismatch, Money
from services.billing.domain.customer_balance import (
    BalanceEntry,
    BalanceMovement,
    BalanceTooSmall,
    balance_applied,
    balance_id,
    empty_balance,
    moved,
)

NOW = datetime(2025, 2, 1, tzinfo=UTC)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def a_movement(minor: int, currency: str = "EUR") -> BalanceMovement:
    return BalanceMovement(
        "cus_1", Money(minor, currency), "adjustment", NOW, "token:test", reason="goodwill"
    )


@pytest.mark.parametrize(
    ("total", "balance", "applied"),
    [
        (100, 0, 0),
        (100, 40, 40),
        (100, 100, 100),
        (100, 250, 100),
        (0, 250, 0),
        (-100, 0, -100),
        (-100, 250, -100),
    ],
)
def test_what_is_applied(total: int, balance: int, applied: int) -> None:
    assert balance_applied(eur(total), eur(balance)) == eur(applied)


def test_a_balance_is_of_one_currency() -> None:
    assert balance_id("cus_1", "EUR") != balance_id("cus_1", "USD")
    assert balance_id("cus_1", "EUR") == empty_balance("cus_1", "EUR", now=NOW).id
    with pytest.raises(CurrencyMismatch):
        moved(empty_balance("cus_1", "EUR", now=NOW), a_movement(1, "USD"))


@given(st.lists(st.integers(-500, 500), max_size=12))
def test_it_is_the_sum_of_its_entries_and_never_below_zero(amounts: list[int]) -> None:
    balance = empty_balance("cus_1", "EUR", now=NOW)
    entries: list[BalanceEntry] = []
    for amount in amounts:
        if balance.amount.amount_minor + amount < 0:
            with pytest.raises(BalanceTooSmall):
                moved(balance, a_movement(amount))
            continue
        balance, entry = moved(balance, a_movement(amount))
        entries.append(entry)
        assert entry.after == balance.amount
    assert balance.amount.amount_minor == sum(entry.movement.amount.amount_minor for entry in entries) >= 0
    assert [entry.ordinal for entry in entries] == list(range(1, len(entries) + 1))
    assert len({entry.id for entry in entries}) == len(entries)

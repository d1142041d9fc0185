"""Withdrawals in time, and what a receipt says."""

from __future__ import annotations

from datetime import date

import pytest

from services.subscriptions.domain.receipt import (
    WithdrawalOver,
    refuse_withdrawal,
    withdrawal_ends_on,
    write_receipt,
)
from tests.support.subscriptions import NOW, a_customer, a_subscription, utc

ZONE = "America/New_York"


def test_a_person_may_withdraw_for_fourteen_days_and_a_business_may_not() -> None:
    agreed_at = utc("2025-06-02T03:30")  # still the first of June in New York
    assert withdrawal_ends_on(agreed_at, ZONE, None, a_customer()) == date(2025, 6, 16)
    assert withdrawal_ends_on(agreed_at, ZONE, None, a_customer(legal_name="Delta Inc.")) is None
    assert withdrawal_ends_on(agreed_at, ZONE, None, a_customer(vat_id="NL004495445B01")) is None
    assert withdrawal_ends_on(agreed_at, ZONE, 30, a_customer(legal_name="Delta Inc.")) == date(2025, 7, 2)
    assert withdrawal_ends_on(agreed_at, ZONE, 0, a_customer()) is None


def test_the_last_day_of_the_withdrawal_is_one_by_the_local_calendar() -> None:
    subscription = a_subscription(withdrawal_ends_on=date(2025, 6, 16))
    refuse_withdrawal(subscription, utc("2025-06-16T03:59"))
    with pytest.raises(WithdrawalOver) as refused:
        refuse_withdrawal(subscription, utc("2025-06-16T04:00"))
    assert refused.value.remedy is not None
    with pytest.raises(WithdrawalOver):
        refuse_withdrawal(a_subscription(), utc("2025-06-01"))


def test_a_receipt_says_what_was_declared_by_whom_when_and_when_it_ends() -> None:
    receipt = write_receipt(
        "cancellation",
        a_subscription(external_id="crm-4711"),
        id="rcp_1",
        declared_by="Ada Lovelace, ada@example.com",
        statement="I cancel.\nPlease confirm.",
        ends_at=utc("2025-07-01T04:00"),
        now=utc("2025-06-01T12:00"),
        created_at=NOW,
    )
    assert receipt.text == (
        "Receipt rcp_1\n"
        "Received: 2025-06-01 08:00:00 America/New_York (UTC-0400)\n"
        "Declaration: cancellation of the agreement\n"
        "Agreement: Power by the minute, crm-4711\n"
        "Declared by: Ada Lovelace, ada@example.com\n"
        "The agreement ends: 2025-07-01 00:00:00 America/New_York (UTC-0400)\n"
        "\n"
        "In the words received:\n"
        "I cancel.\n"
        "Please confirm.\n"
    )

"""What is said of usage under way: what differs from what was said last, of each item once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.metering.domain.metered_item import MeteredItem, Span
from services.metering.domain.usage_balance import UsageBalance, narrowed, say
from services.metering.domain.usage_window import UsageWindow

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
HALF = START + timedelta(days=15)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_window(*items: MeteredItem) -> UsageWindow:
    return UsageWindow(
        id="uwin_1",
        subscription_id="sub_1",
        customer_id="cus_1",
        period_index=0,
        version=1,
        state="open",
        window_start=START,
        window_end=END,
        items=items,
        clock_id=None,
        created_at=START,
    )


@pytest.mark.parametrize(
    ("window_id", "quantity", "is_said"),
    [("uwin_1", "5.0", False), ("uwin_1", "6", True), ("uwin_2", "5", True)],
    ids=["same", "more", "another_period"],
)
def test_what_was_said_is_not_said_again(window_id: str, quantity: str, is_said: bool) -> None:
    balance = UsageBalance("si_1", 7, "uwin_1", Decimal(5), START)
    said = say(balance, window_id=window_id, quantity=Decimal(quantity), system_now=NOW)
    assert said == (UsageBalance("si_1", 8, window_id, Decimal(quantity), NOW) if is_said else None)


def test_nothing_used_is_said_once() -> None:
    first = say(UsageBalance("si_1"), window_id="uwin_1", quantity=Decimal(0), system_now=NOW)
    assert first == UsageBalance("si_1", 1, "uwin_1", Decimal(0), NOW)


def test_an_item_is_summed_once_whatever_its_prices() -> None:
    window = a_window(
        MeteredItem("si_1", "minutes", "p1", (Span(START, HALF),)),
        MeteredItem("si_1", "minutes", "p2", (Span(HALF, END),)),
        MeteredItem("si_2", "trips"),
        MeteredItem("si_3", "trips"),
    )
    assert narrowed(window, {"si_1", "si_2"}).items == (
        MeteredItem("si_1", "minutes", spans=(Span(START, END),)),
        MeteredItem("si_2", "trips"),
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_an_item_whose_meter_changed_is_summed_on_the_last_one(reverse: bool) -> None:
    items = [
        MeteredItem("si_1", "minutes", "p1", (Span(START, HALF),)),
        MeteredItem("si_1", "trips", "p2", (Span(HALF, END),)),
    ]
    window = a_window(*(reversed(items) if reverse else items))
    assert narrowed(window, {"si_1"}).items == (MeteredItem("si_1", "trips", spans=(Span(HALF, END),)),)

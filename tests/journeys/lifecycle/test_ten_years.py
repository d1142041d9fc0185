"""A test clock moved over years of renewals: every one of them in order, with its invoice paid, in a bounded time."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tests.cases.driver import Driver
from tests.cases.server import Perennial, SharedServer

SECONDS_A_MONTH_MAX = 0.5  # ten years in a minute
PLAN = {
    "products": [{"code": "time", "name": "Time", "kind": "service"}],
    "plans": [
        {
            "code": "by-the-month",
            "name": "By the month",
            "currency": "EUR",
            "interval": {"unit": "month"},
            "prices": [
                {
                    "code": "month",
                    "product": "time",
                    "kind": "recurring",
                    "model": "flat",
                    "unit_amount": "10.00",
                }
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def perennial(shared_server: SharedServer) -> Perennial:
    perennial = shared_server.perennial()
    Driver(perennial, "plan", "EUR", "UTC").publish(PLAN)
    return perennial


@pytest.mark.long
def test_ten_years_pass_within_a_minute(perennial: Perennial) -> None:
    took_s = pass_years(perennial, "ten", 10)
    print(f"ten years of monthly renewals: {took_s:.1f} s")
    assert took_s < 120 * SECONDS_A_MONTH_MAX


def test_a_year_passes_month_by_month(perennial: Perennial) -> None:
    """What CI sees of it: the same, with room for a machine that does other things."""
    assert pass_years(perennial, "one", 1) < 12 * 4 * SECONDS_A_MONTH_MAX


def test_clocks_do_not_disturb_each_other(perennial: Perennial) -> None:
    """One moves by three months, the other stands."""
    moving, standing = (begun(perennial, name) for name in ("moving", "standing"))
    moving.move_to(datetime(2010, 4, 1, 12, tzinfo=UTC))
    assert [document.total for document in moving.documents()] == [Decimal("10.00")] * 4
    assert [document.total for document in standing.documents()] == [Decimal("10.00")]
    assert perennial.get(f"/v1/test-clocks/{standing.clock_id}")["now"] == "2010-01-01T12:00:00Z"


def begun(perennial: Perennial, name: str) -> Driver:
    driver = Driver(perennial, name, "EUR", "UTC")
    driver.begin(datetime(2010, 1, 1, tzinfo=UTC))
    driver.subscribe("by-the-month", date(2010, 1, 1))
    driver.move_to(datetime(2010, 1, 1, 12, tzinfo=UTC))
    return driver


def pass_years(perennial: Perennial, name: str, years: int) -> float:
    """How long it took, in seconds; each month must have its invoice."""
    driver = begun(perennial, name)
    began_at = time.monotonic()
    for year in range(years):  # a move at a time, each of which has its own time limit
        driver.move_to(datetime(2011 + year, 1, 1, 12, tzinfo=UTC))
    took_s = time.monotonic() - began_at
    documents = driver.documents()
    assert [document.total for document in documents] == [Decimal("10.00")] * (12 * years + 1)
    assert len({document.on for document in documents}) == 12 * years + 1
    return took_s

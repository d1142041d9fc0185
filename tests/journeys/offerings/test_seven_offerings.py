"""The seven offerings as files, each lived from order to end on a test clock, by the public API alone, to the cent."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from libs.cli.main import app
from tests.cases.driver import Document, Driver
from tests.cases.server import Perennial, SharedServer

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def perennial(shared_server: SharedServer) -> Perennial:
    """What `make run` starts, with the files applied by the command line."""
    perennial, process = shared_server.perennial(), shared_server.process()
    surroundings = {
        **os.environ,
        "PERENNIAL_URL": process.base_url,
        "PERENNIAL_VAR_FOLDER": str(process.folder),
    }
    for file in sorted(EXAMPLES.glob("*.yaml")):
        done = CliRunner().invoke(app, ["catalog", "apply", "--yes", str(file)], env=surroundings)
        assert done.exit_code == 0, done.output
    return perennial


class Life(Driver):
    """One customer's, with what the stories ask beyond what lifecycle cases do."""

    @classmethod
    def begun(
        cls, perennial: Perennial, code: str, now: str, *, currency: str = "EUR", zone: str = "UTC"
    ) -> Life:
        life = cls(perennial, f"{code}-{uuid4().hex[:6]}", currency, zone)
        life.begin(at(now))
        return life

    def ask(self, subscription: str, path: str, **body: Any) -> dict[str, Any]:
        return self.perennial.post(f"/v1/subscriptions/{subscription}/{path}", body)

    def until(self, instant: str) -> None:
        self.move_to(at(instant))

    def totals(self) -> list[Decimal]:
        return [document.total for document in self.documents()]

    def last(self) -> Document:
        return self.documents()[-1]

    def end_by_quote(self, subscription: str, on: date) -> Decimal:
        """Ends it on the day by a quote that was accepted; what the quote says."""
        quote = self.ask(subscription, "termination-quotes", on=on.isoformat())
        self.ask(subscription, "cancellation", quote_id=quote["id"])
        return Decimal(quote["amount"]["amount"])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def lines(document: Document) -> dict[str, Decimal]:
    """By description and first day; amounts of one are added up."""
    found: dict[str, Decimal] = {}
    for line in document.lines:
        key = f"{line.name} {line.start_on}"
        found[key] = found.get(key, Decimal(0)) + line.amount
    return found


def test_light_as_a_service(perennial: Perennial) -> None:
    """Begins with its acceptance; 85,000 klm·h of at least 100,000; leaves with notice at the end of its term."""
    life = Life.begun(perennial, "light", "2026-02-10T09:00:00")
    term = {
        "length": {"unit": "month", "count": 3},
        "notice": {"unit": "month", "count": 1},
        "early_termination": {"kind": "forbidden"},
    }
    it = life.subscribe(
        "light-as-a-service",
        date(2026, 2, 10),
        quantities={"luminaires": "400"},
        billing_starts="acceptance",
        anchoring="calendar",
        term=term,
    )
    assert life.subscription(it)["status"] == "awaiting_activation"
    assert life.totals() == []
    life.until("2026-03-01T09:00:00")
    life.ask(it, "activation", on="2026-03-01", reason="acceptance")
    life.bind(it, "light-delivered", at("2026-03-01T00:00:00"))
    life.read("light-delivered", at("2026-03-01T00:00:00"), "981250", device="A")
    # Counter A had wrapped when it was taken away.
    exchange = {"kind": "exchange", "old_end": "27750", "new_start": "12", "device": "B"}
    life.read("light-delivered", at("2026-03-14T08:00:00"), "12", **exchange)
    life.read("light-delivered", at("2026-04-01T00:00:00"), "38512", device="B")
    life.until("2026-04-02T00:00:00")
    assert life.totals() == [Decimal("1280.00"), Decimal("1700.00")]
    assert sorted(line.amount for line in life.last().lines) == [
        Decimal("63.00"),
        Decimal("357.00"),
        Decimal("1280.00"),
    ]
    assert perennial.get(f"/v1/subscriptions/{it}/earliest-end", on="2026-04-10")["ends_on"] == "2026-06-01"
    life.until("2026-04-10T09:00:00")
    life.ask(it, "cancellation", at="2026-06-01T00:00:00Z")
    life.until("2026-06-03T00:00:00")
    assert life.subscription(it)["status"] == "ended"
    # April and May were used without light: 100,000 klm·h at 0.0042 each, and no fee after the end
    assert life.totals()[2:] == [Decimal("1700.00"), Decimal("420.00")]


def test_furniture_subscription(perennial: Perennial) -> None:
    """From 15 January, billed on the first; chairs swapped in March; leaves early on 1 August."""
    life = Life.begun(perennial, "furniture", "2026-01-15T09:00:00")
    term = {
        "length": {"unit": "month", "count": 12},
        "early_termination": {"kind": "percentage", "percent": "75"},
    }
    it = life.subscribe(
        "furniture",
        date(2026, 1, 15),
        quantities={"desks": "10", "chairs": "10", "ergo-chairs": "0"},
        anchor_on="2026-01-01",
        term=term,
    )
    life.until("2026-01-15T10:00:00")
    assert life.totals() == [Decimal("194.03")]
    life.until("2026-03-10T09:00:00")
    life.change(
        it,
        when="now",
        quantities={"chairs": "8", "ergo-chairs": "2"},
        add=[{"plan": "furniture-swap"}],
    )
    life.until("2026-04-01T01:00:00")
    assert life.totals()[1:] == [Decimal("135.00"), Decimal("135.00"), Decimal("170.26")]
    assert sorted(line.amount for line in life.last().lines) == [
        Decimal(amount) for amount in ("-6.39", "10.65", "15.00", "25.00", "36.00", "90.00")
    ]
    life.until("2026-08-01T00:00:00")
    life.until("2026-08-01T00:00:00")
    assert life.last().total == Decimal("141.00")


def test_furniture_left_early(perennial: Perennial) -> None:
    """July is the last rent: 75 % of what remains until 15 January, 141.00 x (5 + 14/31)."""
    life = Life.begun(perennial, "furniture", "2026-07-01T00:00:00")
    term = {
        "length": {"unit": "month", "count": 12},
        "early_termination": {"kind": "percentage", "percent": "75"},
    }
    it = life.subscribe(
        "furniture",
        date(2026, 1, 15),
        quantities={"desks": "10", "chairs": "8", "ergo-chairs": "2"},
        anchor_on="2026-01-01",
        term=term,
        billed_until="2026-07-01",
    )
    life.until("2026-07-15T09:00:00")
    assert life.totals() == [Decimal("141.00")]
    assert life.end_by_quote(it, date(2026, 8, 1)) == Decimal("576.51")
    life.until("2026-08-02T00:00:00")
    assert life.subscription(it)["status"] == "ended"
    assert life.totals() == [Decimal("141.00"), Decimal("576.51")]


def test_phone_upgrade_programme(perennial: Perennial) -> None:
    """Instalments by phase; upgraded on the due date of the eleventh, topped up to twelve; the new phases begin anew."""
    life = Life.begun(perennial, "phone", "2026-01-01T00:00:00")
    it = life.subscribe("phone-999", date(2026, 1, 1))
    life.until("2026-10-20T00:00:00")
    assert life.totals() == [Decimal("49.63")] * 10
    top_up = {"plan": "phone-999-top-up", "quantities": {"missing-instalments": "2"}}
    life.change(it, when="period_end", plan="phone-1099", add=[top_up, {"plan": "phone-grade-c"}])
    life.until("2026-11-02T00:00:00")
    assert sorted(line.amount for line in life.last().lines) == [
        Decimal(amount) for amount in ("8.00", "29.00", "45.80", "83.26")
    ]
    life.until("2027-03-02T00:00:00")
    assert life.totals()[11:] == [Decimal("53.80")] * 3 + [Decimal("53.79")]
    assert life.subscription(it)["phase"] == "rest"
    life.ask(it, "cancellation", at_period_end=True)
    life.until("2027-04-02T00:00:00")
    assert life.subscription(it)["status"] == "ended"
    assert len(life.totals()) == 15


@pytest.mark.long  # months pass in it
def test_car_subscription(perennial: Perennial) -> None:
    """18,000 km a year are earned by the month; leaves after 20 of 36 months for 40 % of what remains."""
    life = Life.begun(perennial, "car", "2024-01-01T00:00:00")
    term = {
        "length": {"unit": "month", "count": 36},
        "early_termination": {"kind": "percentage", "percent": "40"},
    }
    it = life.subscribe("car", date(2024, 1, 1), term=term)
    life.bind(it, "kilometres", at("2024-01-01T00:00:00"))
    for month in range(1, 13):  # 20,000 km in the first year, which is more than was earned by then
        life.use_of(
            "kilometres",
            "car.driven",
            {"km": "1700" if month < 12 else "1300"},
            at(f"2024-{month:02}-15T12:00:00"),
        )
    life.use_of("kilometres", "car.driven", {"km": "13200"}, at("2025-02-15T12:00:00"))
    life.until("2025-08-20T00:00:00")
    assert life.totals() == [Decimal("549.00")] * 20
    assert life.end_by_quote(it, date(2025, 9, 1)) == Decimal("3513.60")
    life.until("2025-09-03T00:00:00")
    assert life.subscription(it)["status"] == "ended"
    # 33,200 km, of which 18,000 x 20/12 = 30,000 were earned
    assert sorted(line.amount for line in life.last().lines) == [Decimal("320.00"), Decimal("3513.60")]


def test_pay_per_wash(perennial: Perennial) -> None:
    """In arrears, prices with tax in them: 16 washes, 12 are in the fee."""
    life = Life.begun(perennial, "wash", "2026-05-01T00:00:00")
    it = life.subscribe("pay-per-wash", date(2026, 5, 1))
    life.bind(it, "washes", at("2026-05-01T00:00:00"))
    life.read("washes", at("2026-05-01T00:00:00"), "1204")
    life.read("washes", at("2026-06-01T00:00:00"), "1220")
    life.until("2026-06-02T00:00:00")
    assert life.totals() == [Decimal("23.75")]
    life.ask(it, "pause", resumes_on="2026-06-17")  # on holiday from the 2nd: 15 of 30 days
    life.read("washes", at("2026-07-01T00:00:00"), "1220")
    life.until("2026-06-20T00:00:00")
    life.ask(it, "cancellation", at_period_end=True)
    life.until("2026-07-02T00:00:00")
    assert life.subscription(it)["status"] == "ended"
    assert life.totals()[1:] == [Decimal("9.98")]  # 19.95 x 15/30 = 9.975


def test_software_seats(perennial: Perennial) -> None:
    """Fourteen days of trial, 50 seats, 14 more on the tenth: 254.80 for the rest of April."""
    life = Life.begun(perennial, "seats", "2026-03-18T09:00:00", currency="USD")
    it = life.subscribe("software-seats", date(2026, 3, 18), quantities={"seats": "50"})
    assert life.subscription(it)["status"] == "trialing"
    life.until("2026-04-01T06:00:00")
    assert life.totals() == [Decimal("1500.00")]
    life.until("2026-04-10T09:00:00")
    life.change(it, when="now", quantities={"seats": "64"})
    life.until("2026-05-01T06:00:00")
    assert life.last().total == Decimal("2118.80")
    life.change(it, when="period_end", quantities={"seats": "40"})
    life.until("2026-06-01T06:00:00")
    assert life.last().total == Decimal("1200.00")
    life.ask(it, "cancellation", at_period_end=True)
    life.until("2026-07-01T06:00:00")
    assert life.subscription(it)["status"] == "ended"
    assert len(life.totals()) == 4 - 1


def test_engines_by_the_minute(perennial: Perennial) -> None:
    """A fee for each aircraft, minutes by tier; an aircraft more in mid-month; renewed terms, left with notice."""
    life = Life.begun(perennial, "engines", "2026-01-01T00:00:00", currency="USD")
    term = {
        "length": {"unit": "month", "count": 2},
        "notice": {"unit": "month", "count": 1},
        "on_end": "renew",
        "early_termination": {"kind": "forbidden"},
        "reminder_days": [10],
    }
    it = life.subscribe("engines-by-the-minute", date(2026, 1, 1), quantities={"aircraft": "4"}, term=term)
    life.bind(it, "flying-minutes", at("2026-01-01T00:00:00"))
    life.use_of("flying-minutes", "flight.flown", {"air_time": "120000"}, at("2026-01-20T12:00:00"))
    life.until("2026-01-11T00:00:00")
    life.change(it, when="now", quantities={"aircraft": "5"})
    life.until("2026-02-02T00:00:00")
    # 1,200 x 21/31 = 812.90; 100,000 x 5.20 + 20,000 x 4.75 = 615,000
    assert life.totals() == [Decimal("4800.00"), Decimal("621812.90")]
    assert perennial.get(f"/v1/subscriptions/{it}/earliest-end", on="2026-02-10")["ends_on"] == "2026-05-01"
    life.until("2026-03-15T00:00:00")
    life.ask(it, "cancellation", at="2026-05-01T00:00:00Z")
    life.until("2026-05-03T00:00:00")
    assert life.subscription(it)["status"] == "ended"
    assert life.totals()[2:] == [Decimal("6000.00")] * 2
    told = [entry["event"] for entry in perennial.pages(f"/v1/subscriptions/{it}/timeline")]
    assert told.count("SubscriptionRenewalUpcoming") >= 1
    assert told[-1] in ("InvoicePaid", "UsageWindowClosed", "SubscriptionEnded")

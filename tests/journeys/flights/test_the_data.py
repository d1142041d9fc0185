"""What the story rests on, found in the data itself."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from examples.engines_by_the_minute.dataset import installed_data
from examples.engines_by_the_minute.fleet import survey
from examples.engines_by_the_minute.flights import read_flights
from examples.engines_by_the_minute.story import Story, instant_text
from tests.journeys.flights.straight_from_the_csv import owed_by_airline, price_of, rows_of

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def data() -> Path:
    return installed_data()


@pytest.fixture(scope="module")
def rows(data: Path) -> Rows:
    return rows_of(data / "flights.csv.zip")


def test_the_counts_are_those_that_are_told(rows: Rows) -> None:
    grounded = [row for row in rows if row["air_time"] == "NA"]
    assert len(rows) == 336_776
    assert len(grounded) == 9_430
    assert (
        sum(row["tailnum"] == "NA" for row in grounded)
        == sum(row["tailnum"] == "NA" for row in rows)
        == 2_512
    )
    assert len({row["carrier"] for row in rows}) == 16


def test_carrier_flight_origin_and_hour_are_unique(rows: Rows) -> None:
    keys = {(row["carrier"], row["flight"], row["origin"], row["time_hour"]) for row in rows}
    assert len(keys) == len(rows)


def test_every_flown_flight_lies_in_one_binding_which_is_its_carriers(data: Path, rows: Rows) -> None:
    story = Story()
    fleet = survey(read_flights(data, story))
    bound = defaultdict(list)
    for tenure in fleet.tenures(start=instant_text(story.starts_at), end=instant_text(story.ends_at)):
        bound[tenure.tail].append(tenure)
    assert (len(bound), fleet.changed_hands) == (4_037, 17)
    for row in rows:
        if row["air_time"] != "NA":
            owners = [t.carrier for t in bound[row["tailnum"]] if t.start <= row["time_hour"] < t.end]
            assert owners == [row["carrier"]], row


@pytest.mark.parametrize(
    ("minutes", "amount"),
    [
        (0, "0"),
        (1, "5.20"),
        (100_000, "520000.00"),
        (100_001, "520004.75"),
        (500_000, "2420000.00"),
        (500_001, "2420004.35"),
    ],
)
def test_the_independent_price_is_right_on_the_edges(minutes: int, amount: str) -> None:
    assert str(price_of(minutes)) in (amount, f"{amount}.00")


def test_the_year_gives_an_invoice_at_each_boundary_but_one(rows: Rows) -> None:
    """SkyWest flew nothing in December, so that its last boundary has neither fee nor minutes."""
    owed = owed_by_airline(rows)
    assert {carrier: len(invoices) for carrier, invoices in owed.items() if len(invoices) != 13} == {"OO": 12}
    assert sum(len(invoices) for invoices in owed.values()) == 207

"""Whose aircraft is whose, and when it changes hands."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from examples.engines_by_the_minute.fleet import Tenure, survey
from examples.engines_by_the_minute.flights import Flight
from examples.engines_by_the_minute.told import Stopped

START, END = "2013-01-01T05:00:00Z", "2014-01-01T05:00:00Z"


def a_flight(carrier: str, day: int, *, tail: str | None = "N1", air_time: int | None = 60) -> Flight:
    at = f"2013-03-{day:02}T12:00:00Z"
    return Flight(carrier, "7", "JFK", "BOS", tail, air_time, 187, 3, at)


class Case(NamedTuple):
    name: str
    flights: list[Flight]
    tenures: list[Tenure]


MARCH_9 = "2013-03-09T12:00:00Z"
CASES = [
    Case("one_owner_has_it_from_beginning_to_end", [a_flight("DL", 4)], [Tenure("N1", "DL", START, END)]),
    Case(
        "the_first_flight_of_the_next_owner_is_his",
        [a_flight("DL", 9), a_flight("FL", 2), a_flight("DL", 20)],
        [Tenure("N1", "FL", START, MARCH_9), Tenure("N1", "DL", MARCH_9, END)],
    ),
    Case(
        "a_flight_that_was_not_flown_makes_no_owner",
        [a_flight("FL", 2, air_time=None), a_flight("DL", 9)],
        [Tenure("N1", "DL", START, END)],
    ),
    Case("a_flight_without_aircraft_makes_none", [a_flight("FL", 2, tail=None, air_time=None)], []),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tenures(case: Case) -> None:
    assert survey(case.flights).tenures(start=START, end=END) == case.tenures


def test_two_airlines_that_take_turns_with_one_aircraft_are_refused() -> None:
    fleet = survey([a_flight("DL", 1), a_flight("FL", 2), a_flight("DL", 3)])
    with pytest.raises(Stopped, match="DL and FL fly N1 at the same time"):
        fleet.tenures(start=START, end=END)


def test_two_airlines_in_the_same_hour_are_refused() -> None:
    with pytest.raises(Stopped, match="at the same time"):
        survey([a_flight("DL", 1), a_flight("FL", 1)]).tenures(start=START, end=END)


def test_each_airline_is_charged_for_every_aircraft_that_it_flew() -> None:
    fleet = survey([a_flight("FL", 1), a_flight("DL", 9), a_flight("DL", 9, tail="N2")])
    assert fleet.aircraft == {"DL": 2, "FL": 1}
    assert (fleet.aircraft_count, fleet.changed_hands) == (2, 1)

"""One row of the flights as a fact of use: read from the packed CSV, told as a CloudEvent."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from examples.engines_by_the_minute.story import Story

FLIGHTS_FILE = "flights.csv.zip"
AIRLINES_FILE = "airlines.csv"
_MISSING = "NA"


class Flight(NamedTuple):
    """`month` is the local one at departure; `scheduled_at` the scheduled hour, RFC 3339 in UTC.

    A flight without an air time did not take off, or never arrived; some of these have no tail number either.
    """

    carrier: str
    number: str
    origin: str
    destination: str
    tail: str | None
    air_time: int | None
    distance: int
    month: int
    scheduled_at: str


def read_flights(data: Path, story: Story) -> Iterator[Flight]:
    """The story's flights, in the order of the file."""
    names = ("carrier", "flight", "origin", "dest", "tailnum", "air_time", "distance", "month", "time_hour")
    with zipfile.ZipFile(data / FLIGHTS_FILE) as archive, archive.open("flights.csv") as packed:
        rows = csv.reader(io.TextIOWrapper(packed, encoding="utf-8", newline=""))
        header = next(rows)
        places = [header.index(name) for name in names]
        for row in rows:
            carrier, number, origin, destination, tail, air_time, distance, month, at = (
                row[place] for place in places
            )
            if int(month) > story.months or (story.carriers and carrier not in story.carriers):
                continue
            yield Flight(
                carrier=carrier,
                number=number,
                origin=origin,
                destination=destination,
                tail=None if tail == _MISSING else tail,
                air_time=None if air_time == _MISSING else int(air_time),
                distance=int(distance),
                month=int(month),
                scheduled_at=at,
            )


def read_airlines(data: Path) -> dict[str, str]:
    """Names by carrier code."""
    with (data / AIRLINES_FILE).open(encoding="utf-8", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


def event_of(flight: Flight, story: Story) -> dict[str, Any]:
    """Carrier, flight, origin and scheduled hour are unique together. What is missing is left out, not guessed.

    Nothing here says who pays: that follows from the aircraft's binding at the time.
    """
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{flight.carrier}-{flight.number}-{flight.origin}-{flight.scheduled_at}",
        "source": story.source,
        "type": story.event_type,
        "time": flight.scheduled_at,
        "data": {
            "carrier": flight.carrier,
            "destination": flight.destination,
            "distance": flight.distance,
        },
    }
    if flight.tail is not None:
        event["subject"] = flight.tail
    if flight.air_time is not None:
        event["data"]["air_time"] = flight.air_time
    return event

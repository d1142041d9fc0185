"""The events of the measurements: a thousand things that each report once a minute, in the order of time.

The n-th event of a stream is the same in every process, so that a load generator makes its requests, a bare
script its rows, and a check its sums, from nothing but the stream's few numbers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

SOURCE = "https://bench.example/things"
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
SIZES = (100, 1_000)


@dataclass(frozen=True, slots=True)
class Stream:
    """`event_count` events of `type`, all on day `day`; no other stream of the same type shares that day."""

    type: str
    day: int
    event_count: int
    things: int = 1_000

    @property
    def starts_at(self) -> datetime:
        return FIRST_DAY + timedelta(days=self.day)

    @property
    def ends_at(self) -> datetime:
        return self.starts_at + timedelta(days=1)

    def id(self, n: int) -> str:
        return f"{self.type}-{self.day}-{n}"

    def subject(self, n: int) -> str:
        return f"thing-{n % self.things}"

    def time(self, n: int) -> datetime:
        return self.starts_at + timedelta(minutes=n // self.things % 1_440, milliseconds=n % self.things)

    def value(self, n: int) -> str:
        """A number with one decimal, as it is written in JSON."""
        return f"{n * 7_919 % 1_000 + 1}.5"

    def data(self, n: int) -> str:
        """The payload as JSON, keys sorted and without blanks, as it is stored."""
        return f'{{"minutes":{self.value(n)},"mode":"normal","site":"hall-{n % 7}"}}'

    def json(self, n: int) -> str:
        """The whole event as CloudEvents JSON."""
        time = self.time(n).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return (
            f'{{"specversion":"1.0","id":"{self.id(n)}","source":"{SOURCE}","type":"{self.type}",'
            f'"subject":"{self.subject(n)}","time":"{time}","data":{self.data(n)}}}'
        )

    def total(self) -> Decimal:
        return sum((Decimal(self.value(n)) for n in range(self.event_count)), Decimal(0))

    def batches(self) -> Iterator[range]:
        """Cut into batches of 100 to 1,000 events, by a fixed seed."""
        chance = random.Random(self.day)
        start = 0
        while start < self.event_count:
            end = min(start + chance.randint(*SIZES), self.event_count)
            yield range(start, end)
            start = end


def batch_bodies(stream: Stream) -> list[bytes]:
    """The stream as bodies of requests, a batch each."""
    return [f"[{','.join(map(stream.json, batch))}]".encode() for batch in stream.batches()]


def single_bodies(stream: Stream) -> list[bytes]:
    """The stream as bodies of requests, an event each."""
    return [stream.json(n).encode() for n in range(stream.event_count)]


def meter_body(stream_type: str) -> dict[str, Any]:
    return {"code": stream_type, "event_type": stream_type, "aggregation": "sum", "value": "/minutes"}


def is_well_formed(stream: Stream) -> bool:
    """Whether what is written by hand above is JSON."""
    return json.loads(stream.json(0))["id"] == stream.id(0)

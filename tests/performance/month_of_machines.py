"""A month of what the machines of subscriptions report, and how long it takes to be told what one of them comes to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from tests.performance.events import SOURCE
from tests.performance.renewals import METER

STARTS_AT = datetime(2025, 1, 1, tzinfo=UTC)
ENDS_AT = datetime(2025, 2, 1, tzinfo=UTC)
BATCH_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class MachineMonth:
    """`event_count` events of machines `first`, … in turn, evenly over the month; `label` begins their ids."""

    label: str
    event_count: int
    machines: int
    first: int = 0

    def json(self, n: int) -> str:
        at = STARTS_AT + (ENDS_AT - STARTS_AT) * n // self.event_count
        time_ = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return (
            f'{{"specversion":"1.0","id":"{self.label}-{n}","source":"{SOURCE}","type":"{METER}",'
            f'"subject":"machine-{self.first + n % self.machines}","time":"{time_}",'
            f'"data":{{"minutes":{n * 7_919 % 1_000 + 1}.5,"mode":"normal","site":"hall-{n % 7}"}}}}'
        )

    def parts(self, events: int) -> Iterator[range]:
        """The same in parts: ten million events at once would not fit into a generator."""
        for start in range(0, self.event_count, events):
            yield range(start, min(start + events, self.event_count))

    def bodies(self, part: range) -> list[bytes]:
        cuts = [part[start : start + BATCH_EVENTS] for start in range(0, len(part), BATCH_EVENTS)]
        return [f"[{','.join(map(self.json, cut))}]".encode() for cut in cuts]


async def ask_for_month(client: httpx.AsyncClient, subscription_id: str) -> tuple[float, int]:
    """Seconds until the answer was there, and how many events it counts."""
    params = {
        "meter": METER,
        "subscription_id": subscription_id,
        "from": STARTS_AT.isoformat(),
        "to": ENDS_AT.isoformat(),
    }
    began = time.perf_counter()
    answer = await client.get("/v1/usage", params=params)
    elapsed_s = time.perf_counter() - began
    assert answer.status_code == 200, answer.text
    return elapsed_s, sum(row["event_count"] for row in answer.json()["data"])


async def ask_many(client: httpx.AsyncClient, ids: Sequence[str], questions: int) -> list[float]:
    """One after the other, in turn; how long each took, in seconds."""
    found: list[float] = []
    for number in range(questions):
        elapsed_s, event_count = await ask_for_month(client, ids[number % len(ids)])
        assert event_count, "it has used something"
        found.append(elapsed_s)
    return found

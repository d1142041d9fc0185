"""Bindings and events on their way to the server: in batches, a few at once, each answer counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from examples.engines_by_the_minute.client import Perennial
from examples.engines_by_the_minute.fleet import Tenure
from examples.engines_by_the_minute.flights import Flight, event_of
from examples.engines_by_the_minute.story import Story
from examples.engines_by_the_minute.told import Stopped

BINDINGS_A_BATCH = 1_000
EVENTS_A_BATCH = 2_000
REQUESTS_AT_ONCE = 4  # while some are stored, the next are made
CLOUD_EVENTS = "application/cloudevents-batch+json"

T = TypeVar("T")


def batches_of(things: Iterable[T], length: int) -> Iterator[list[T]]:
    source = iter(things)
    while batch := list(islice(source, length)):
        yield batch


@dataclass(slots=True)
class Sent:
    """What became of the events. `reasons` counts rejected events by all that was wrong with each."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, ...]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.statuses.total()

    def add(self, results: Iterable[Mapping[str, Any]]) -> None:
        for result in results:
            self.statuses[result["status"]] += 1
            if result["status"] == "rejected":
                told = sorted(f"{reason['code']} at {reason['pointer']}" for reason in result["reasons"])
                self.reasons[tuple(told)] += 1


async def send_flights(
    perennial: Perennial, story: Story, flights: Iterable[Flight], *, advance: Callable[[int], None]
) -> Sent:
    """Every flight as a CloudEvent. The order does not matter, and what is sent again is told to be known.

    Raises: Refused, Stopped.
    """
    sent = Sent()
    batches = batches_of(flights, EVENTS_A_BATCH)

    async def send_some() -> None:
        for batch in batches:  # all of us take from the same
            events = [event_of(flight, story) for flight in batch]
            answer = await perennial.post("/v1/usage-events", events, media_type=CLOUD_EVENTS)
            results = answer.json()["results"]
            if len(results) != len(events):
                raise Stopped(f"{len(events)} events were answered with {len(results)} results")
            sent.add(results)
            advance(len(events))

    try:
        async with asyncio.TaskGroup() as senders:
            for _ in range(REQUESTS_AT_ONCE):
                senders.create_task(send_some())
    except* Stopped as group:
        raise group.exceptions[0] from None
    perennial.new["usage events"] += sent.statuses["stored"]
    return sent


async def bind_aircraft(
    perennial: Perennial, story: Story, tenures: Sequence[Tenure], *, subscriptions: Mapping[str, str]
) -> Counter[str]:
    """From when until when each aircraft's minutes count for which subscription; by status.

    Raises: Refused, Stopped when one of them was not kept.
    """
    meter = story.read_body("meter.json")["code"]
    statuses: Counter[str] = Counter()
    for batch in batches_of(tenures, BINDINGS_A_BATCH):
        bindings = [
            {
                "subject": tenure.tail,
                "meter": meter,
                "subscription_id": subscriptions[tenure.carrier],
                "bound_from": tenure.start,
                "bound_until": tenure.end,
            }
            for tenure in batch
        ]
        answer = await perennial.post("/v1/subject-bindings", {"bindings": bindings})
        for tenure, result in zip(batch, answer.json()["results"], strict=True):
            statuses[result["status"]] += 1
            if result["status"] not in ("created", "unchanged"):
                why = result["error"] or f"in the way of {result['conflicts_with']}"
                raise Stopped(f"{tenure.tail} could not be bound to {tenure.carrier}: {why}")
    perennial.new["bindings"] += statuses["created"]
    return statuses

"""Which airline flies which aircraft, from when until when: found in the flights themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from examples.engines_by_the_minute.flights import Flight
from examples.engines_by_the_minute.told import Stopped


@dataclass(frozen=True, slots=True)
class Tenure:
    """One aircraft's stay with one airline. Half-open; instants as in the flights, RFC 3339 in UTC."""

    tail: str
    carrier: str
    start: str
    end: str


@dataclass(slots=True)
class Fleet:
    """What the flights say about the airlines. Only flights with an air time make an aircraft theirs."""

    rows: int = 0
    flown: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    minutes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _spans: dict[str, dict[str, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, flight: Flight) -> None:
        self.rows += 1
        if flight.air_time is None or flight.tail is None:
            return
        self.flown[flight.carrier] += 1
        self.minutes[flight.carrier] += flight.air_time
        spans, at = self._spans[flight.tail], flight.scheduled_at
        first, last = spans.get(flight.carrier, (at, at))
        spans[flight.carrier] = (min(first, at), max(last, at))

    @property
    def aircraft_count(self) -> int:
        return len(self._spans)

    @property
    def aircraft(self) -> dict[str, int]:
        """Distinct aircraft by airline."""
        counts: dict[str, int] = defaultdict(int)
        for spans in self._spans.values():
            for carrier in spans:
                counts[carrier] += 1
        return dict(sorted(counts.items()))

    @property
    def changed_hands(self) -> int:
        return sum(len(spans) > 1 for spans in self._spans.values())

    def tenures(self, *, start: str, end: str) -> list[Tenure]:
        """Who has which aircraft within the agreed time: the first owner from `start`, the last one until `end`.

        An owner's time ends with the first flight of the next.
        Raises: Stopped when two airlines fly one aircraft at the same time, which no binding can express.
        """
        found: list[Tenure] = []
        for tail, spans in sorted(self._spans.items()):
            owners = sorted((first, last, carrier) for carrier, (first, last) in spans.items())
            for before, after in pairwise(owners):
                if before[1] >= after[0]:
                    raise Stopped(f"{before[2]} and {after[2]} fly {tail} at the same time")
            bounds = [start, *(first for first, _, _ in owners[1:]), end]
            for (_, _, carrier), (since, until) in zip(owners, pairwise(bounds), strict=True):
                found.append(Tenure(tail, carrier, since, until))
        return found


def survey(flights: Iterable[Flight]) -> Fleet:
    fleet = Fleet()
    for flight in flights:
        fleet.add(flight)
    return fleet

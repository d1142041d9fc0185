"""The usage that is supposed, or that was stored, as a price of some periods needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from libs.common.errors import InputError
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.usage import (
    LevelChange,
    Usage,
    UsageEvent,
    UsageGroup,
    missing,
    sum_of,
)
from services.billing.domain.simulation.timetable import Timetable

T = TypeVar("T")

ZERO = Usage(Decimal(0), event_count=0, events=(), groups=())


@dataclass(frozen=True, slots=True)
class GivenEvent:
    """`at` is None where only the order matters: it then lies at the beginning of whatever period it is used in."""

    value: Decimal
    properties: Mapping[str, Any]
    at: datetime | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class GivenUsage:
    """The usage of one meter, or of one price (with its meter, where it is known), in one period or in each of them.

    `quantity` is None where events, groups or levels tell it. `pointer` leads to where it was given.
    """

    pointer: str
    meter: str | None = None
    price: str | None = None
    period: int | None = None
    quantity: Decimal | None = None
    event_count: int | None = None
    events: tuple[GivenEvent, ...] | None = None
    groups: tuple[UsageGroup, ...] | None = None
    levels: tuple[LevelChange, ...] | None = None

    @property
    def key(self) -> tuple[str | None, str | None]:
        return self.price, self.meter

    @property
    def is_dated(self) -> bool:
        return bool(self.events) and self.events is not None and self.events[0].at is not None

    def is_of(self, price: Price) -> bool:
        if self.price is not None:
            return self.price == price.code and self.meter in (None, price.meter)
        return self.meter == price.meter


@dataclass(frozen=True, slots=True)
class FoundUsage:
    """`given` is where it comes from, nothing where none was given. `part_count`: of how many periods it is the sum."""

    usage: Usage
    given: tuple[GivenUsage, ...]


@dataclass(frozen=True, slots=True)
class UsageBook:
    """All usage of a simulation. What was given by hand comes before what was stored; a price before its meter."""

    timetable: Timetable
    given: tuple[GivenUsage, ...] = ()
    stored: tuple[GivenUsage, ...] = ()

    def of(self, price: Price, start: int, end: int) -> FoundUsage:
        """The usage of the periods from `start` until before `end`, put together.

        Raises: UsageIncomplete where it cannot be put together, or is not told.
        """
        entries = [self._entry(price, step) for step in range(start, end)]
        known = tuple({id(entry): entry for entry in entries if entry is not None}.values())
        if not known:
            return FoundUsage(ZERO, ())
        parts = [
            ZERO if entry is None else self._usage(entry, price, step)
            for step, entry in enumerate(entries, start)
        ]
        return FoundUsage(_together(price, parts), known)

    def parts_count(self, price: Price, start: int, end: int) -> int:
        """How many events, groups and levels of these periods the price would be rated by, at the most."""
        entries = (self._entry(price, step) for step in range(start, end))
        return sum(
            len(part)
            for e in entries
            if e is not None
            for part in (e.events, e.groups, e.levels)
            if part is not None
        )

    def _entry(self, price: Price, step: int) -> GivenUsage | None:
        for book in (self.given, self.stored):
            mine = [entry for entry in book if entry.period in (None, step) and entry.is_of(price)]
            if mine:
                return min(mine, key=lambda entry: entry.price is None)
        return None

    def _usage(self, entry: GivenUsage, price: Price, step: int) -> Usage:
        events = None if entry.events is None else self._events(entry, step)
        quantity, count = entry.quantity, entry.event_count
        if events is not None:
            count = len(events)
            quantity = sum_of(event.value for event in events) if quantity is None else quantity
        elif entry.groups is not None and quantity is None:
            quantity = sum_of(group.quantity for group in entry.groups)
        elif quantity is None and price.model == "capacity":
            quantity = Decimal(0)  # the levels tell it
        if quantity is None:
            raise missing("quantity", f"a price by the model {price.model}")
        return Usage(quantity, count, events, entry.groups, entry.levels)

    def _events(self, entry: GivenUsage, step: int) -> tuple[UsageEvent, ...]:
        """Those of the period: what has no date is in each, in the order in which it was given."""
        assert entry.events is not None
        period = self.timetable.span(step, step + 1)
        if not entry.is_dated:
            return tuple(
                UsageEvent(period.start, event.value, event.properties, f"{number:06}")
                for number, event in enumerate(entry.events)
            )
        return tuple(
            UsageEvent(event.at, event.value, event.properties, event.id or f"{number:06}")
            for number, event in enumerate(entry.events)
            if event.at is not None and period.contains(event.at)
        )


def _together(price: Price, parts: Sequence[Usage]) -> Usage:
    """The usage of several periods that are charged at once; of levels, all are told with each period."""
    if len(parts) == 1:
        return parts[0]
    levels = next((part.levels for part in parts if part.levels is not None), None)
    if price.model == "capacity" and levels is None and price.capacity_basis == "time_weighted":
        raise missing("levels", "a mean over several periods")
    peak = price.model == "capacity" and levels is None
    counts = [part.event_count for part in parts]
    return Usage(
        quantity=max(part.quantity for part in parts) if peak else sum_of(part.quantity for part in parts),
        event_count=None if None in counts else sum(count for count in counts if count is not None),
        events=_joined(parts, lambda part: part.events),
        groups=_joined(parts, lambda part: part.groups),
        levels=levels,
    )


def _joined(parts: Sequence[Usage], of: Callable[[Usage], tuple[T, ...] | None]) -> tuple[T, ...] | None:
    """All of them; None where one part does not tell, and is not nothing."""
    found: list[T] = []
    for part in parts:
        told = of(part)
        if told is None and part.quantity:
            return None
        found += told or ()
    return tuple(found)


def usage_faults(entries: Iterable[GivenUsage], timetable: Timetable) -> list[InputError]:
    """What is wrong with usage that was given by hand, apart from which prices it is for."""
    faults: list[InputError] = []
    taken: dict[tuple[str | None, str | None], dict[int | None, str]] = {}
    for entry in entries:
        at = entry.pointer
        periods = taken.setdefault(entry.key, {})
        other = periods.get(entry.period) or (periods.get(None) if entry.period is not None else None)
        if other is not None or (entry.period is None and periods):
            where = other or next(iter(periods.values()))
            faults.append(
                {"pointer": at, "detail": f"there is usage of the same for the same period at {where}"}
            )
        periods.setdefault(entry.period, at)
        if entry.period is not None and not 0 <= entry.period < timetable.count:
            detail = f"there are {timetable.count} periods, of which the first is 0"
            faults.append({"pointer": f"{at}/period", "detail": detail})
        else:
            faults += _event_faults(entry, timetable)
    return faults


def _event_faults(entry: GivenUsage, timetable: Timetable) -> Iterable[InputError]:
    if not entry.events:
        return
    if len({event.at is None for event in entry.events}) > 1:
        detail = "either each event has a time, or none: then the order in which they stand counts"
        yield {"pointer": f"{entry.pointer}/events", "detail": detail}
        return
    if entry.is_dated and entry.quantity is not None and entry.period is None and timetable.count > 1:
        detail = "say of which period it is the quantity, or leave it out: events tell their own"
        yield {"pointer": f"{entry.pointer}/quantity", "detail": detail}
    first = entry.period or 0
    last = timetable.count if entry.period is None else entry.period + 1
    span = timetable.span(first, last)
    for number, event in enumerate(entry.events):
        if event.at is not None and not span.contains(event.at):
            bounds = f"from {span.start.isoformat()} until before {span.end.isoformat()}"
            detail = f"lies outside of what is simulated, which is {bounds}"
            yield {"pointer": f"{entry.pointer}/events/{number}/at", "detail": detail}

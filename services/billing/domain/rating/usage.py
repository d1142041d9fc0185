"""What was used, as rating needs it: a total, and as far as a model asks for it, what the total is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

from libs.common.errors import RuleViolation
from libs.common.exact import EXACT, text

_add = EXACT.add


class UsageIncomplete(RuleViolation):
    """A model needs more than it was given; `missing` names the field of `Usage`."""

    code = "usage_incomplete"
    title = "Usage that does not tell what the price needs"


class UsageInconsistent(RuleViolation):
    code = "usage_inconsistent"
    title = "Usage that contradicts itself"


class NegativeQuantity(RuleViolation):
    code = "negative_quantity"
    title = "A quantity below zero"


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One event: what it adds to the total, and its fields. `id` orders the events of one instant."""

    at: datetime
    value: Decimal
    properties: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """The total of the events with these values, one for each dimension; a value that is not known is None."""

    values: Mapping[str, str | None]
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class LevelChange:
    """From `at` on there are `level` of them, until the next change."""

    at: datetime
    level: Decimal


@dataclass(frozen=True, slots=True)
class Usage:
    """`quantity` is what the meter made of the whole period. What is None was not told, and is not nothing.

    The order of events, groups and levels means nothing: events are taken by their time.
    """

    quantity: Decimal
    event_count: int | None = None
    events: tuple[UsageEvent, ...] | None = None
    groups: tuple[UsageGroup, ...] | None = None
    levels: tuple[LevelChange, ...] | None = None


def usage_of(events: Iterable[UsageEvent]) -> Usage:
    """The usage of a meter that adds up what its events say."""
    known = tuple(events)
    return Usage(quantity=sum_of(event.value for event in known), event_count=len(known), events=known)


def sum_of(numbers: Iterable[Decimal]) -> Decimal:
    whole = Decimal(0)
    for number in numbers:
        whole = _add(whole, number)
    return whole


_by_time = attrgetter("at", "id", "value")


def needed_events(usage: Usage | None, why: str) -> list[UsageEvent]:
    """The events in the order of time. Raises: UsageIncomplete."""
    if usage is None or usage.events is None:
        raise missing("events", why)
    return sorted(usage.events, key=_by_time)


def needed_amounts(usage: Usage | None, why: str) -> list[UsageEvent]:
    """The same, where each event is an amount, and the total is their sum.

    Raises: UsageIncomplete, UsageInconsistent when the total is another, NegativeQuantity for one below zero.
    """
    events = needed_events(usage, why)
    assert usage is not None
    nothing = found = Decimal(0)
    for event in events:
        value = event.value
        if value < nothing:
            raise NegativeQuantity("an event that is an amount is not negative", at=event.at, value=value)
        found = _add(found, value)
    if found != usage.quantity:
        raise UsageInconsistent(
            f"the events come to {text(found)}, the total to {text(usage.quantity)}",
            pointer="/quantity",
            remedy="Give the total of the events.",
        )
    return events


def needed_count(usage: Usage | None, why: str) -> int:
    """Raises: UsageIncomplete."""
    if usage is not None and usage.event_count is not None:
        return usage.event_count
    if usage is None or usage.events is None:
        raise missing("event_count", why)
    return len(usage.events)


def missing(name: str, why: str) -> UsageIncomplete:
    return UsageIncomplete(
        f"{why} needs {name}", pointer=f"/{name}", remedy=f"Give {name} with the usage.", missing=name
    )

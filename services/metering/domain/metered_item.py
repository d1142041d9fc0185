"""What a window measures: subscription items with usage prices, and from when until when each price held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Span(NamedTuple):
    """From `start` until before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class MeteredItem:
    """A subscription item whose price is for usage, and the code of the meter that measures it.

    Where one price held from end to end of the window, `price_id` is None and `spans` is empty. Otherwise the item
    stands there once for each price, with all the time that it held.
    """

    item_id: str
    meter: str
    price_id: str | None = None
    spans: tuple[Span, ...] = ()


class UsageSegment(NamedTuple):
    """From `start` until `end`, usage of the item on the meter belonged to this price."""

    item_id: str
    meter: str
    price_id: str
    start: datetime
    end: datetime


def items_of(segments: Iterable[UsageSegment], *, start: datetime, end: datetime) -> tuple[MeteredItem, ...]:
    """What a window from `start` to `end` measures, in the order of items and of their prices' beginnings.

    Spans of one price that touch are one. A gap between them is a time in which nothing was agreed on.
    """
    spans: dict[tuple[str, str, str], list[Span]] = {}
    for segment in sorted(segments, key=lambda segment: (segment.item_id, segment.start)):
        first, last = max(segment.start, start), min(segment.end, end)
        if first < last:
            key = (segment.item_id, segment.meter, segment.price_id)
            spans.setdefault(key, []).append(Span(first, last))
    return tuple(
        MeteredItem(item_id, meter)
        if held == (Span(start, end),)
        else MeteredItem(item_id, meter, price_id, held)
        for (item_id, meter, price_id), held in ((key, joined(found)) for key, found in spans.items())
    )


def joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Sorted by start. Two that touch or overlap become one."""
    found: list[Span] = []
    for span in spans:
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return tuple(found)

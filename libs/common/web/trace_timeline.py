"""Where on the page an instant of a trace stands: to scale, with long waits cut short.

A renewal is at work for milliseconds and waits for hours in between, for the relay, a window's grace, a dunning
step. Drawn to one scale its bars would all be invisible.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

WAIT_SHARE_MIN = 0.15  # a wait shorter than this part of all work is drawn as long as it was
WAIT_WIDTH_PERCENT = 6.0
WAITS_WIDTH_MAX_PERCENT = 40.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the time line. In a wait nothing was at work; its width says nothing of its length."""

    start_ns: int
    end_ns: int
    left: float
    width: float
    wait: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """Stretches without gap from 0 to 100 percent."""

    stretches: tuple[Stretch, ...]

    def at(self, instant_ns: int) -> float:
        """Percent from the left; instants outside are put on the edge."""
        index = bisect_right(self.stretches, instant_ns, key=lambda stretch: stretch.start_ns) - 1
        stretch = self.stretches[max(index, 0)]
        length_ns = stretch.end_ns - stretch.start_ns
        share = (instant_ns - stretch.start_ns) / length_ns if length_ns else 0.0
        return stretch.left + stretch.width * min(max(share, 0.0), 1.0)


def timeline_of(intervals: Iterable[tuple[int, int]]) -> Timeline:
    """The time line of a trace from the start and end of each of its spans."""
    busy = _merged(intervals)
    if not busy:
        return Timeline((Stretch(0, 1, 0.0, 100.0, wait=False),))
    work_ns = max(sum(end - start for start, end in busy), 1)
    joined = [busy[0]]
    for start, end in busy[1:]:
        if start - joined[-1][1] > work_ns * WAIT_SHARE_MIN:
            joined.append((start, end))
        else:
            joined[-1] = (joined[-1][0], end)
    waits_count = len(joined) - 1
    wait_width = min(WAIT_WIDTH_PERCENT, WAITS_WIDTH_MAX_PERCENT / waits_count) if waits_count else 0.0
    drawn_ns = max(sum(end - start for start, end in joined), 1)
    scale = (100.0 - wait_width * waits_count) / drawn_ns
    stretches: list[Stretch] = []
    left = 0.0
    for start, end in joined:
        if stretches:
            stretches.append(Stretch(stretches[-1].end_ns, start, left, wait_width, wait=True))
            left += wait_width
        width = (end - start) * scale
        stretches.append(Stretch(start, end, left, width, wait=False))
        left += width
    return Timeline(tuple(stretches))


def _merged(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged

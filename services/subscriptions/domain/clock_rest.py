"""When a test clock is at rest: every service shows its time and has nothing left to do by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Look:
    """What one service said of a clock when it was asked.

    `busy` counts what is due by the clock or under way, `unpublished` events that it has yet to tell,
    `last_position` is the last event it wrote down: if it stands still, nothing happened in between.
    """

    service: str
    clock_now: datetime | None
    earliest_due_at: datetime | None
    busy: int
    unpublished: int
    last_position: int


Offsets = Mapping[int, int]


def find_unrest(looks: Sequence[Look], clock_now: datetime) -> str | None:
    """What must still happen in some service before the clock may go on; None when there is nothing."""
    for look in looks:
        if look.clock_now != clock_now:
            return f"{look.service} has not heard of the clock's new time"
        if look.busy:
            return f"{look.service} has {look.busy} due by this time"
        if look.unpublished:
            return f"{look.service} has {look.unpublished} events to publish"
    return None


def find_change(before: Sequence[Look], after: Sequence[Look]) -> str | None:
    """Which service has done something between two looks; None when all stood still."""
    positions = {look.service: look.last_position for look in before}
    for look in after:
        if positions[look.service] != look.last_position:
            return f"{look.service} has told of something new"
    return None


def is_behind(committed: Offsets, ends: Offsets) -> bool:
    """Whether a reader of a topic has yet to handle something before these ends."""
    return any(committed.get(partition, 0) < end for partition, end in ends.items())

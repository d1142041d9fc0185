"""Test clocks: the time of a sandbox customer, and a move of it through everything that falls due on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from libs.common import clock
from libs.common.errors import Conflict, NotFound, RuleViolation


class TestClockNotFound(NotFound):
    __test__: ClassVar[bool] = False  # these names begin as a test class's do; they are none
    code = "test_clock_not_found"
    title = "There is no such test clock"


class ClockMoveNotFound(NotFound):
    code = "clock_move_not_found"
    title = "There is no such move"


class SandboxOnly(RuleViolation):
    """Time can be moved, and gateways that move no money be used, for sandbox tenants only."""

    code = "sandbox_only"
    title = "Only in a sandbox"


class ClockGoesBack(RuleViolation):
    code = "clock_goes_back"
    title = "A test clock does not go back"


class ClockIsMoving(Conflict):
    code = "clock_is_moving"
    title = "The test clock is moving already"


class MoveState(StrEnum):
    MOVING = "moving"
    ARRIVED = "arrived"


@dataclass(frozen=True, slots=True)
class TestClock:
    """A clock that shows `now` until it is moved. Whatever belongs to its customers lives by it."""

    __test__: ClassVar[bool] = False

    id: str
    name: str
    now: datetime
    created_at: datetime
    version: int = 1

    @property
    def shown(self) -> clock.TestClock:
        return clock.TestClock(self.id, self.now)

    def moved_to(self, instant: datetime) -> TestClock:
        """Raises: ClockGoesBack."""
        if instant < self.now:
            raise ClockGoesBack("a test clock only moves forward", pointer="/to", now=self.now)
        return replace(self, now=instant, version=self.version + 1)


@dataclass(frozen=True, slots=True)
class ClockMove:
    """One move of a clock, as it goes on: `steps` counts the due instants that it has stopped at."""

    id: str
    test_clock_id: str
    from_at: datetime
    to_at: datetime
    clock_now: datetime
    started_at: datetime
    state: MoveState = MoveState.MOVING
    steps: int = 0
    next_due_at: datetime | None = None
    waiting_for: str | None = None
    arrived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The clock goes on to `to`."""

    to: datetime


@dataclass(frozen=True, slots=True)
class Arrival:
    """The clock shows the instant it was to be moved to, and all that was due by then is done."""


def begin_move(test_clock: TestClock, *, id: str, to: datetime, system_now: datetime) -> ClockMove:
    """A move to `to`. To move to where the clock stands is to wait until everything due has been done.

    Raises: ClockGoesBack.
    """
    if to < test_clock.now:
        raise ClockGoesBack("a test clock only moves forward", pointer="/to", now=test_clock.now)
    return ClockMove(
        id=id,
        test_clock_id=test_clock.id,
        from_at=test_clock.now,
        to_at=to,
        clock_now=test_clock.now,
        started_at=system_now,
    )


def decide_step(clock_now: datetime, to: datetime, due: Sequence[datetime]) -> Step | Arrival:
    """Where a clock at rest goes next: to the earliest due instant, or to the end when nothing is due before it.

    At rest nothing is due at or before `clock_now`.
    """
    assert all(at > clock_now for at in due), "a clock at rest has nothing due"
    if clock_now >= to:
        return Arrival()
    return Step(min([*due, to]))

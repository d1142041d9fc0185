"""A clock that shows what a test says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from libs.common.clock import TestClock


class FixedClock:
    """The wall stands still until it is moved; a customer with a test clock lives by that one."""

    def __init__(self, now: datetime = datetime(2025, 6, 1, 12, tzinfo=UTC)) -> None:
        self.now = now

    def system_now(self) -> datetime:
        return self.now

    def business_now(self, test_clock: TestClock | None) -> datetime:
        return self.now if test_clock is None else test_clock.now

    def advance(self, by: timedelta) -> None:
        self.now += by

"""The only source of "now": the wall's time, and the time in which a customer's business runs."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class TestClock:
    """The time of a sandbox customer, as it stood when it was read."""

    __test__: ClassVar[bool] = False  # the name begins as a test class's does; it is none

    id: str
    now: datetime


class Clock(Protocol):
    """`system_now` is for leases, tokens and arrivals, `business_now` for whatever belongs to a customer."""

    def system_now(self) -> datetime: ...

    def business_now(self, test_clock: TestClock | None) -> datetime: ...


class SystemClock:
    """The wall clock; a customer with a test clock lives by that one."""

    def system_now(self) -> datetime:
        return datetime.now(UTC)

    def business_now(self, test_clock: TestClock | None) -> datetime:
        return self.system_now() if test_clock is None else test_clock.now

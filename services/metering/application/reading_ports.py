"""What the use cases of readings need of the world."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from libs.common.paging import PageRequest, Slice
from services.metering.domain.consumption import Consumption, Position
from services.metering.domain.estimate import PeriodUsed
from services.metering.domain.meter import Meter
from services.metering.domain.reading import Reading, State
from services.metering.domain.reading_exception import ExceptionKind, ExceptionState, ReadingException
from services.metering.domain.usage_window import UsageWindow


class MeterPoint(NamedTuple):
    """Where readings of one meter are taken: the meter's code, and what is metered."""

    meter: str
    subject: str


class Stretch(NamedTuple):
    """Something about the readings of a point changes from `first_at` until `last_at`."""

    point: MeterPoint
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class KnownReadings:
    """What is known around a stretch: from the last reading before it that is settled, until the first after it.

    `start` is where the counter stood then; None if it had not been read before. `taken` and `held` follow it.
    """

    start: Position | None
    taken: tuple[Reading, ...]
    held: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class MadeConsumption:
    """A consumption with the usage event that was made of it, whose id is `event_id`."""

    event_id: str
    meter: str
    subject: str
    consumption: Consumption
    made_at: datetime
    is_counted: bool = True


class MissingReading(NamedTuple):
    """Nobody has read the counter of a point at `needed_at` or later, when its usage in a window ended.

    `is_end`: no later window of the subscription counts it, so that it should have been read at that very instant; a
    later reading may be there.
    """

    point: MeterPoint
    needed_at: datetime
    window: UsageWindow
    is_end: bool = False


class UsedAround(NamedTuple):
    """What was used in the window until its missing reading, as far as it is told, and in the periods before.

    Periods with anything estimated are left out; the newest comes first.
    """

    told: Decimal
    before: Sequence[PeriodUsed]


@dataclass(frozen=True, slots=True)
class ReadingFilter:
    """What is None does not narrow the list. `start` and `end` bound when it was read, half-open."""

    meter: str | None = None
    subject: str | None = None
    state: State | None = None
    device: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class ExceptionFilter:
    meter: str | None = None
    subject: str | None = None
    kind: ExceptionKind | None = None
    state: ExceptionState | None = None


class MeterReadings(Protocol):
    """Readings, what people have to look at of them, and what was made of them. Read them once writers are stopped."""

    async def find(self, ids: Collection[str]) -> Mapping[str, Reading]: ...

    async def load(self, stretches: Sequence[Stretch]) -> Mapping[MeterPoint, KnownReadings]:
        """What is known around each stretch, one for each point."""
        ...

    async def insert(self, readings: Sequence[Reading]) -> None: ...

    async def update(self, readings: Sequence[Reading]) -> None: ...

    async def made_of(self, reading_ids: Collection[str]) -> Sequence[MadeConsumption]:
        """All that was ever made of the later readings, what no longer counts too."""
        ...

    async def keep_made(self, made: Sequence[MadeConsumption]) -> None: ...

    async def void_made(self, event_ids: Collection[str], *, now: datetime) -> None: ...

    async def ensure_months(self, instants: Iterable[datetime]) -> None:
        """See to it that raw events of these instants can be stored."""
        ...

    async def newest_meters(self, codes: Collection[str]) -> Mapping[str, Meter]:
        """The newest version of each, by code."""
        ...

    async def find_missing(
        self, windows: Sequence[UsageWindow], estimated: Mapping[str, bool]
    ) -> Sequence[MissingReading]:
        """Points that count in these windows on meters of these codes, and lack a reading.

        On meters that are `estimated`, those that were not read at the end of it or later; and on all of them, those
        that count in no later window and were not read at that very instant.
        """
        ...

    async def find_ends_beside(
        self, read: Collection[tuple[MeterPoint, datetime]]
    ) -> Mapping[MeterPoint, Sequence[datetime]]:
        """When these points ceased to count in windows that have closed, without a reading of that instant.

        Only where no other reading lies between that and one of these instants.
        """
        ...

    async def used_around(
        self, missing: Sequence[MissingReading], *, periods_max: int
    ) -> Sequence[UsedAround]: ...

    async def find_exception(self, id: str) -> ReadingException | None: ...

    async def find_exceptions_for_update(self, ids: Collection[str]) -> Mapping[str, ReadingException]: ...

    async def open_exceptions(
        self, *, reading_ids: Collection[str], read: Mapping[MeterPoint, datetime]
    ) -> Sequence[ReadingException]:
        """Those about these readings, and those that miss a reading that was now taken, at that instant or before."""
        ...

    async def add_exceptions(self, exceptions: Sequence[ReadingException]) -> Collection[str]:
        """Returns the ids of those that were not there yet."""
        ...

    async def save_exceptions(self, exceptions: Sequence[ReadingException]) -> None: ...

    async def list_readings(self, wanted: ReadingFilter, page: PageRequest) -> Slice[Reading]: ...

    async def list_exceptions(
        self, wanted: ExceptionFilter, page: PageRequest
    ) -> Slice[ReadingException]: ...

    async def list_consumptions(
        self, point: MeterPoint, start: datetime | None, end: datetime | None, page: PageRequest
    ) -> Slice[MadeConsumption]: ...

"""What screens ask for: the filters, what is shown, and the port that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

from libs.common.paging import PageRequest, Slice
from services.metering.domain.aggregation import Usage
from services.metering.domain.meter import Meter
from services.metering.domain.metered_item import Span
from services.metering.domain.usage_event import Reason
from services.metering.domain.usage_window import State, UsageWindow


@dataclass(frozen=True, slots=True)
class Reject:
    """An event that was refused, to be kept once and shown with all its reasons."""

    id: str
    event_id: str | None
    source: str | None
    type: str | None
    subject: str | None
    payload: str
    reasons: tuple[Reason, ...]
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class UsageConflict:
    """A second payload under a known identity: the first one stays, this one is shown."""

    id: str
    key: bytes
    first_digest: bytes
    other_digest: bytes
    event_id: str
    source: str
    payload: str
    seen_at: datetime


NotStoredAs = Literal["duplicate", "conflict", "rejected"]
SETTLED_AS = ("stored", "duplicate", "conflict", "rejected")


class PartId(NamedTuple):
    """A part of a request that came through the usage topic."""

    batch_id: str
    number: int


@dataclass(frozen=True, slots=True)
class SettledPart:
    """What became of a part: how many of its events had which result."""

    id: PartId
    batch_event_count: int
    counts: Mapping[str, int]
    arrived_at: datetime


@dataclass(frozen=True, slots=True)
class NotStored:
    """An accepted event that was not stored, and why. `place` is its place in the request, from 0."""

    batch_id: str
    place: int
    status: NotStoredAs
    event_id: str | None
    source: str | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class NotStoredView:
    not_stored: NotStored
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What has become of a request so far. `event_count` None: nothing of it has been read from the topic yet."""

    batch_id: str
    event_count: int | None
    counts: Mapping[str, int]
    arrived_at: datetime | None

    @property
    def pending_count(self) -> int | None:
        return None if self.event_count is None else self.event_count - sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What is None does not narrow the list. `start` and `end` bound when it happened, half-open."""

    type: str | None = None
    subject: str | None = None
    source: str | None = None
    event_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A raw event as it was stored. `data_json` is its payload as JSON text, None when it had none."""

    event_id: str
    source: str
    type: str
    subject: str
    occurred_at: datetime
    arrived_at: datetime
    data_json: str | None


@dataclass(frozen=True, slots=True)
class CountedEvent:
    """An event behind a total, with what the meter took from it (None where it only counts)."""

    event: StoredEvent
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class RejectView:
    reject: Reject
    first_seen_at: datetime
    last_seen_at: datetime
    seen_count: int


@dataclass(frozen=True, slots=True)
class ConflictView:
    """`stored_occurred_at` is when the event that stays happened: its raw row is found by it."""

    conflict: UsageConflict
    stored_occurred_at: datetime | None
    first_seen_at: datetime
    last_seen_at: datetime
    seen_count: int


@dataclass(frozen=True, slots=True)
class WindowFilter:
    subscription_id: str | None = None
    customer_id: str | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Usage between two neighbouring bounds, of one group of the dimensions asked for."""

    slice: int
    group: tuple[str | None, ...]
    usage: Usage


class UsageReads(Protocol):
    """Reads for screens; nothing here changes anything."""

    async def list_meters(
        self, page: PageRequest, *, code: str | None, event_type: str | None
    ) -> Slice[Meter]: ...

    async def find_meter(self, meter_id: str) -> Meter | None: ...

    async def find_meter_by_code(self, code: str) -> Meter | None: ...

    async def list_events(self, wanted: EventFilter, page: PageRequest) -> Slice[StoredEvent]: ...

    async def list_rejects(self, page: PageRequest, *, source: str | None) -> Slice[RejectView]: ...

    async def list_conflicts(self, page: PageRequest, *, source: str | None) -> Slice[ConflictView]: ...

    async def find_batch(self, batch_id: str) -> BatchResult | None:
        """What is settled of the batch; None when nothing is, or when that was too long ago."""
        ...

    async def has_failing_part(self, batch_id: str) -> bool:
        """Whether a part of the batch could not be stored, and waits to be tried again."""
        ...

    async def list_not_stored(self, page: PageRequest, *, batch_id: str | None) -> Slice[NotStoredView]: ...

    async def list_windows(self, wanted: WindowFilter, page: PageRequest) -> Slice[UsageWindow]: ...

    async def find_window(self, window_id: str) -> UsageWindow | None: ...

    async def list_window_events(
        self, item_id: str, meter: str, spans: Sequence[Span], page: PageRequest
    ) -> Slice[CountedEvent]: ...

    async def find_items(
        self, *, item_id: str | None, subscription_id: str | None, customer_id: str | None, of: str | None
    ) -> Sequence[str] | None:
        """Ids of the metered items of the one that is named; None if it is unknown, or is not customer `of`'s."""
        ...

    async def sum_usage(
        self,
        meter: Meter,
        bounds: Sequence[datetime],
        *,
        subject: str | None,
        item_ids: Sequence[str] | None,
        dimensions: Sequence[int],
        rows_max: int,
    ) -> Sequence[UsageRow]: ...

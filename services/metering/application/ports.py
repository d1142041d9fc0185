"""What metering's use cases need of the world: one transaction, its locks, and the things kept in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from libs.common.contracts.envelope import Event
from libs.common.paging import PageRequest, Slice
from services.metering.domain.aggregation import BucketSums, TouchedBucket, Usage
from services.metering.domain.meter import Meter
from services.metering.domain.subject_binding import BindingChange, SubjectBinding
from services.metering.domain.usage_event import Reason, UsageEvent
from services.metering.domain.usage_window import MeteredItem, State, UsageTotal, UsageWindow


@dataclass(frozen=True, slots=True)
class MeterBook:
    """All meters of the tenant by event type, and the end of the last window that is no longer open, if any."""

    by_type: Mapping[str, Sequence[Meter]]
    last_closed_end: datetime | None


class Arrival(NamedTuple):
    """A well-formed event, with the request that brought it."""

    event: UsageEvent
    batch_id: str
    arrived_at: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """Which keys were new and are stored now; for all others the digest of the payload that came first."""

    fresh: frozenset[bytes]
    known: Mapping[bytes, bytes]


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


class UsageStore(Protocol):
    """Raw events, their identities, and the running sums."""

    async def share(self) -> MeterBook:
        """Take part as a writer until the transaction ends: no meter appears and no window closes meanwhile."""
        ...

    async def stop_writers(self) -> None:
        """Wait for the tenant's writers and keep new ones out until the transaction ends."""
        ...

    async def wait_for_writers(self) -> None:
        """Wait for those who write now, without keeping others out."""
        ...

    async def store(self, arrivals: Sequence[Arrival]) -> Stored:
        """Claim the identities, each once in `arrivals`, and keep the events of those that are new."""
        ...

    async def add_sums(self, sums: BucketSums) -> None: ...

    async def keep_rejects(self, rejects: Sequence[Reject]) -> None: ...

    async def keep_conflicts(self, conflicts: Sequence[UsageConflict]) -> None: ...

    async def back_fill(self, meter: Meter) -> int:
        """Make a new meter's sums from the events that are there; returns how many buckets came of it."""
        ...

    async def sum_windows(self, windows: Sequence[UsageWindow]) -> Mapping[str, Sequence[UsageTotal]]:
        """The totals of each window's items as they are now, zero totals included, by window id."""
        ...


class Meters(Protocol):
    async def find_by_code(self, code: str) -> Meter | None: ...

    async def count(self) -> int: ...

    async def insert(self, meter: Meter) -> None: ...


class Bindings(Protocol):
    async def load_for_update(self, ids: Iterable[str]) -> None: ...

    async def find_for_update(self, id: str) -> SubjectBinding | None: ...

    def add(self, aggregate: SubjectBinding) -> None: ...

    def save(self, aggregate: SubjectBinding) -> None: ...


class Windows(Protocol):
    async def load_for_update(self, ids: Iterable[str]) -> None: ...

    async def find_for_update(self, id: str) -> UsageWindow | None: ...

    def add(self, aggregate: UsageWindow) -> None: ...

    def save(self, aggregate: UsageWindow) -> None: ...


@dataclass(frozen=True, slots=True)
class MeteredSubscription:
    """Whose usage it is: a copy of what subscriptions said last."""

    id: str
    version: int
    customer_id: str
    zone: str
    clock_id: str | None
    items: tuple[MeteredItem, ...]


class Subscriptions(Protocol):
    def learn(self, subscription: MeteredSubscription) -> None:
        """Keep it if it is newer than what is known. An item is never forgotten: old usage still belongs to it."""
        ...


@dataclass(frozen=True, slots=True)
class LateNote:
    """A window whose totals may have changed since they were said."""

    id: str
    window_id: str


class LateUsage(Protocol):
    """Notes that closed windows must be counted again, written in the transaction that changed their usage."""

    def note_usage(self, touched: Iterable[TouchedBucket]) -> None: ...

    def note_binding(self, changes: Iterable[BindingChange]) -> None: ...

    def note_meter(self, code: str) -> None: ...

    def note_window(self, window_id: str) -> None: ...

    async def load(self, ids: Sequence[str]) -> Sequence[LateNote]: ...

    async def remove(self, ids: Sequence[str]) -> None: ...


class Outbox(Protocol):
    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None: ...


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

    async def list_windows(self, wanted: WindowFilter, page: PageRequest) -> Slice[UsageWindow]: ...

    async def find_window(self, window_id: str) -> UsageWindow | None: ...

    async def list_window_events(
        self, window: UsageWindow, item: MeteredItem, page: PageRequest
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


class UnitOfWork(Protocol):
    """One transaction of one tenant."""

    tenant: str
    actor: str

    @property
    def usage(self) -> UsageStore: ...

    @property
    def meters(self) -> Meters: ...

    @property
    def bindings(self) -> Bindings: ...

    @property
    def windows(self) -> Windows: ...

    @property
    def subscriptions(self) -> Subscriptions: ...

    @property
    def late(self) -> LateUsage: ...

    @property
    def reads(self) -> UsageReads: ...

    @property
    def outbox(self) -> Outbox: ...

    async def count_pending_messages(self) -> int:
        """Messages of this tenant that failed and will be tried again; dead ones wait for people and do not count."""
        ...

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None: ...

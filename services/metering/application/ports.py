"""What metering's use cases need of the world: one transaction, its locks, and the things kept in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from libs.common.clock import TestClock
from libs.common.contracts.envelope import Event
from services.metering.application.reads import (
    NotStored,
    PartId,
    Reject,
    SettledPart,
    UsageConflict,
    UsageReads,
)
from services.metering.domain.aggregation import BucketSums, TouchedBucket
from services.metering.domain.meter import Meter
from services.metering.domain.metered_item import MeteredItem
from services.metering.domain.subject_binding import BindingChange, SubjectBinding
from services.metering.domain.usage_balance import UsageBalance
from services.metering.domain.usage_event import UsageEvent
from services.metering.domain.usage_window import Offsets, UsageTotal, UsageWindow


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
        """The totals of each window's measured items as they are now, zero ones included, by window id."""
        ...


class UsageResults(Protocol):
    """What became of the events that came through the usage topic."""

    async def find_settled(self, ids: Sequence[PartId]) -> Sequence[PartId]: ...

    async def keep(
        self, settled: Sequence[SettledPart], not_stored: Sequence[NotStored], *, kept: timedelta
    ) -> None: ...


class UsageOffsets(Protocol):
    """How far the usage topic is stored."""

    async def stored(self) -> Offsets:
        """By partition, the offset that is stored next: everything before it is, or is known to have failed."""
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


class UsageBalances(Protocol):
    """What was said last of the usage of each item, and which are to be said again."""

    def note(self, item_ids: Iterable[str], *, after: timedelta = timedelta(0)) -> None:
        """Say the balance of these items again: at once, or, by the wall's time, `after` that to ten times as late."""
        ...

    def note_meter(self, code: str) -> None:
        """Say the balance of all items of a meter again."""
        ...

    def note_usage(self, sums: BucketSums) -> None:
        """Usage was stored. Whoever commits this transaction notes the items concerned when it has committed."""
        ...

    async def load(self, item_ids: Sequence[str]) -> Sequence[UsageBalance]: ...

    async def find_under_way(self, item_ids: Sequence[str]) -> Mapping[str, UsageWindow]:
        """By item, the window of its subscription's period under way. An item without one is left out."""
        ...

    async def settle(self, balances: Sequence[UsageBalance]) -> None:
        """Keep them as they were said; nothing is to be said of them until they are noted again."""
        ...


class Outbox(Protocol):
    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None: ...


class UnitOfWork(Protocol):
    """One transaction of one tenant."""

    tenant: str
    actor: str

    @property
    def usage(self) -> UsageStore: ...

    @property
    def results(self) -> UsageResults: ...

    @property
    def offsets(self) -> UsageOffsets: ...

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
    def balances(self) -> UsageBalances: ...

    @property
    def reads(self) -> UsageReads: ...

    @property
    def outbox(self) -> Outbox: ...

    async def test_clock(self, clock_id: str | None) -> TestClock | None: ...

    async def count_pending_messages(self) -> int:
        """Messages of this tenant that failed and will be tried again; dead ones wait for people and do not count."""
        ...

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None: ...

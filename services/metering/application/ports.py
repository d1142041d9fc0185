"""What metering's use cases need of the world: one transaction, its locks, and the things kept in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from libs.common.clock import TestClock
from libs.common.contracts.envelope import Event
from libs.common.paging import PageRequest, Slice
from services.metering.application.reading_ports import MeterReadings
from services.metering.application.reads import (
    AlertFilter,
    NotStored,
    PartId,
    Reject,
    RejectResolution,
    RejectView,
    SettledPart,
    UsageConflict,
    UsageReads,
)
from services.metering.domain.aggregation import BucketSums, TouchedBucket, TouchedSubjects
from services.metering.domain.back_fill import BackFill
from services.metering.domain.late_usage import (
    DEFAULT_TERMS,
    ChangedEvents,
    ChangedUsage,
    LateUsageTerms,
    UsageChangeCause,
    WindowCorrection,
)
from services.metering.domain.measurement import Measurement
from services.metering.domain.meter import Meter
from services.metering.domain.metered_item import MeteredItem
from services.metering.domain.subject_binding import BindingChange, SubjectBinding
from services.metering.domain.usage_alert import Firing, UsageAlert
from services.metering.domain.usage_balance import UsageBalance
from services.metering.domain.usage_correction import StandingEvent, UsageCorrection
from services.metering.domain.usage_event import UsageEvent
from services.metering.domain.usage_retention import RawEventsGone, UsageRetention
from services.metering.domain.usage_seal import LeafTree, UsageDigest
from services.metering.domain.usage_window import Offsets, UsageTotal, UsageWindow

LONGEST_DAY = timedelta(hours=25)


@dataclass(frozen=True, slots=True)
class MeterBook:
    """All meters of the tenant by event type, and the end of the last window that is no longer open, if any.

    Raw events are there from `kept_from` on; None: all are.
    """

    by_type: Mapping[str, Sequence[Meter]]
    last_closed_end: datetime | None
    kept_from: datetime | None = None

    @property
    def settled_until(self) -> datetime | None:
        """What happened before then may count in a window that is no longer open; what happens later does not.

        A change that weighs from the start of its local day counts before it happens.
        """
        if self.last_closed_end is None:
            return None
        weighs_back = any(meter.options.by_day for meters in self.by_type.values() for meter in meters)
        return self.last_closed_end + LONGEST_DAY if weighs_back else self.last_closed_end


class Arrival(NamedTuple):
    """A well-formed event, with the request that brought it."""

    event: UsageEvent
    batch_id: str
    arrived_at: datetime


class Computed(NamedTuple):
    """What the expressions of a meter made of an event."""

    meter_id: str
    key: bytes
    occurred_at: datetime
    measured: Measurement


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

    async def find_known(self, keys: Sequence[bytes]) -> Collection[bytes]:
        """Those of these identities that were claimed before."""
        ...

    async def add_sums(self, sums: BucketSums) -> None:
        """Once what expressions made of the same events is kept."""
        ...

    async def keep_measurements(self, computed: Sequence[Computed]) -> None: ...

    async def rebuild(self, touched: Sequence[TouchedBucket]) -> None:
        """Make these running sums again from the events that count, while writers are stopped."""
        ...

    async def keep_rejects(self, rejects: Sequence[Reject]) -> None: ...

    async def keep_conflicts(self, conflicts: Sequence[UsageConflict]) -> None: ...

    async def sum_windows(
        self, windows: Sequence[UsageWindow], *, until: Mapping[str, datetime] | None = None
    ) -> Mapping[str, Sequence[UsageTotal]]:
        """The totals of each window's measured items as they are now, zero ones included, by window id.

        `until` says of windows under way, by id, how far their levels have come: now, by their clock.
        """
        ...

    async def sum_windows_kept(
        self, windows: Sequence[UsageWindow]
    ) -> tuple[Mapping[str, Sequence[UsageTotal]], Mapping[str, RawEventsGone]]:
        """The same, and why those have none that would need raw events which are no longer kept."""
        ...


class UsageCorrections(Protocol):
    """Which raw events were voided or amended."""

    async def find_standing(self, identities: Sequence[bytes]) -> Mapping[bytes, StandingEvent]:
        """How these identities stand, as far as they are known. Ask it once writers have been stopped."""
        ...

    async def keep(self, corrections: Sequence[UsageCorrection]) -> None: ...


class UsageRejects(Protocol):
    """Events that were refused, and what was done about them."""

    async def find(self, reject_id: str) -> RejectView | None: ...

    async def resolve(self, reject_id: str, resolution: RejectResolution) -> bool:
        """False when it is resolved already."""
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
    async def find_by_code(self, code: str) -> Meter | None:
        """Its newest version."""
        ...

    async def find_filling(self, codes: Collection[str]) -> Collection[str]:
        """Those of which a version is not summed up yet as far back as its events go."""
        ...

    async def get(self, meter_id: str) -> Meter:
        """One version. Raises: MeterNotFound."""
        ...

    async def versions(self, code: str) -> Sequence[Meter]:
        """Oldest first."""
        ...

    async def count(self) -> int:
        """Codes: a meter counts once, whatever its versions."""
        ...

    async def insert(self, meter: Meter) -> None: ...

    async def close(self, meter_id: str, valid_until: datetime) -> None:
        """The next version takes the place of this one."""
        ...


class UsageHistory(Protocol):
    """Raw events by time, for whoever sums them up again. Bounds are bounds of buckets; an end of None: for ever."""

    async def count_events(self, types: Sequence[str], start: datetime, *, looked_at_max: int) -> int | None:
        """How many of these types there are; None where more events of any type would have to be looked at."""
        ...

    async def estimate_events(self, start: datetime) -> int:
        """About how many of any type there are."""
        ...

    async def find_event(self, start: datetime) -> datetime | None:
        """When the first event happened, of any type."""
        ...

    async def find_cut(
        self,
        types: Sequence[str],
        start: datetime,
        *,
        before: datetime | None,
        read_max: int,
        looked_at_max: int,
    ) -> datetime | None:
        """When the first event happened that is too many: `read_max` of these types, or `looked_at_max` of any."""
        ...

    def events(
        self, meter: Meter, start: datetime, end: datetime | None
    ) -> AsyncIterator[tuple[bytes, datetime, Any]]:
        """Key, time and data of those that the version reads."""
        ...

    async def fill(self, meters: Sequence[Meter], start: datetime, end: datetime | None) -> int:
        """Make the running sums of versions of a meter again, while writers are stopped; returns how many events of any
        type were gone through.
        """
        ...


class BackFills(Protocol):
    """How far meters have been summed up."""

    async def add(self, back_fill: BackFill) -> None: ...

    async def get(self, meter_id: str) -> BackFill: ...

    async def load(self, meter_ids: Sequence[str]) -> Mapping[str, BackFill]: ...

    async def save(self, back_fill: BackFill) -> None: ...


class Retention(Protocol):
    """How far back raw events are kept."""

    async def kept_from(self) -> datetime | None:
        """Nothing before is to be relied on; it is a bound of buckets. None: everything is kept."""
        ...

    async def find(self, *, for_update: bool = False) -> UsageRetention:
        """The tenant's own; one that has said nothing has version 0."""
        ...

    async def save(self, retention: UsageRetention, *, due_at: datetime) -> None:
        """`due_at`: when it is looked at again."""
        ...

    async def earliest_needed(self) -> datetime | None:
        """Where the first window begins that has not closed, or is to be counted again."""
        ...

    async def delete(self, rested: timedelta) -> int:
        """A piece of what this tenant no longer keeps, and did not `rested` ago; returns how many events that was."""
        ...


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


class UsageSeals(Protocol):
    def note(self, window: UsageWindow) -> None:
        """The closed window is to be sealed, or sealed again."""
        ...

    async def noted(self, note_ids: Sequence[str]) -> Mapping[str, str]:
        """By the ids of notes, of which windows they are."""
        ...

    async def remove(self, note_ids: Collection[str]) -> None: ...

    async def find_settled(
        self, window_ids: Collection[str], *, noted_only_by: Collection[str] | None = None
    ) -> Mapping[str, UsageWindow]:
        """Those that are closed, and need not be counted again; noted by these notes alone, where they are given.

        Nothing is locked: whoever closes and corrects waits for nobody here.
        """
        ...

    async def newest(self, window_ids: Collection[str]) -> Mapping[str, Sequence[UsageDigest]]:
        """The digests of the last seal of each window that has one."""
        ...

    async def of_window(self, window_id: str, revision: int | None) -> Sequence[UsageDigest]:
        """Those of the newest seal of the revision, or of all; none where there is no seal. By item and price."""
        ...

    async def add(self, digests: Sequence[UsageDigest], *, sealed_at: datetime) -> None: ...

    async def read(
        self, wanted: Sequence[tuple[UsageWindow, int]], zones: Mapping[str, str]
    ) -> Mapping[tuple[str, int], LeafTree]:
        """The tree over the events of each of these measured items of windows, by the window's id and the place.

        Those whose events cannot be read any more have none. `zones` are those of subscriptions.
        """
        ...


@dataclass(frozen=True, slots=True)
class MeteredSubscription:
    """Whose usage it is: a copy of what subscriptions said last."""

    id: str
    version: int
    customer_id: str
    zone: str
    clock_id: str | None
    items: tuple[MeteredItem, ...]
    late_usage: LateUsageTerms = DEFAULT_TERMS


class LateUsageRules(NamedTuple):
    """What becomes of late usage of a subscription, in whose zone its days are counted."""

    terms: LateUsageTerms
    zone: str


class Subscriptions(Protocol):
    def learn(self, subscription: MeteredSubscription) -> None:
        """Keep it if it is newer than what is known. An item is never forgotten: old usage still belongs to it."""
        ...

    async def late_usage_rules(self, subscription_ids: Collection[str]) -> Mapping[str, LateUsageRules]:
        """By subscription. One that nothing was heard of yet is left out."""
        ...


@dataclass(frozen=True, slots=True)
class LateNote:
    """A window whose totals may have changed since they were said. `noted_at` is by the window's clock."""

    id: str
    window_id: str
    noted_at: datetime


class LateUsage(Protocol):
    """Notes that closed windows must be counted again, written in the transaction that changed their usage."""

    def note_events(self, cause: UsageChangeCause, changed: Iterable[ChangedUsage]) -> None:
        """Events count anew, no more, or otherwise. Windows that are open, or closed without them, are left alone."""
        ...

    def note_binding(self, changes: Iterable[BindingChange]) -> None: ...

    def note_meter(self, code: str) -> None: ...

    def note_window(self, window_id: str) -> None: ...

    async def load(self, ids: Sequence[str]) -> Sequence[LateNote]:
        """These notes, and all others of the same windows."""
        ...

    async def events_of(self, window_ids: Collection[str]) -> Mapping[str, ChangedEvents]:
        """The events that the notes of each window name, if they name any."""
        ...

    async def put_off(self, ids: Sequence[str], until: datetime) -> None:
        """Leave these for later, by the wall's time."""
        ...

    async def remove(self, ids: Sequence[str]) -> None:
        """Those that another worker is about to answer stay; he finds nothing to say."""
        ...


class WindowCorrections(Protocol):
    """Corrections of closed windows as they were said."""

    def add(self, correction: WindowCorrection) -> None: ...


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

    async def note_touched(self, touched: TouchedSubjects) -> None:
        """Say the balance again of the items for which these subjects counted then."""
        ...

    async def load(self, item_ids: Sequence[str]) -> Sequence[UsageBalance]: ...

    async def find_under_way(self, item_ids: Sequence[str]) -> Mapping[str, UsageWindow]:
        """By item, the window of its subscription's period under way. An item without one is left out."""
        ...

    async def settle(self, balances: Sequence[UsageBalance]) -> None:
        """Keep them as they were said; nothing is to be said of them until they are noted again."""
        ...


@dataclass(frozen=True, slots=True)
class Watched:
    """Whose usage an alert is about."""

    subscription_id: str
    customer_id: str


class UsageAlerts(Protocol):
    """Alerts, and which of their marks have fired in which windows."""

    async def find_watched(
        self, *, subscription_id: str | None, item_id: str | None, meter: str
    ) -> Watched | None:
        """The subscription that is named, or that has the item; None unless the meter measures something of it."""
        ...

    async def add(self, alert: UsageAlert) -> None: ...

    async def count(self, subscription_id: str) -> int: ...

    async def find(self, alert_id: str, *, for_update: bool = False) -> UsageAlert | None: ...

    async def remove(self, alert_id: str) -> None:
        """With what it has fired."""
        ...

    async def find_under_way(self, subscription_ids: Sequence[str]) -> Mapping[str, UsageWindow]:
        """By subscription, the window of its period under way. One without is left out."""
        ...

    async def find_touched(self, touched: TouchedSubjects) -> Sequence[str]:
        """The alerts that are about usage of these subjects."""
        ...

    async def note(self, alert_ids: Sequence[str]) -> None:
        """They are to be looked at."""
        ...

    async def find_fired(
        self, wanted: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], AbstractSet[int]]:
        """The places of the marks that have fired, by alert and window."""
        ...

    async def record_firings(self, firings: Sequence[Firing]) -> AbstractSet[str]:
        """The ids of those that were not there yet, and are now."""
        ...

    async def list_alerts(self, wanted: AlertFilter, page: PageRequest) -> Slice[UsageAlert]: ...

    async def list_firings(self, alert_id: str, page: PageRequest) -> Slice[Firing]: ...


class Outbox(Protocol):
    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None: ...


class UnitOfWork(Protocol):
    """One transaction of one tenant."""

    tenant: str
    actor: str

    @property
    def usage(self) -> UsageStore: ...

    @property
    def corrections(self) -> UsageCorrections: ...

    @property
    def rejects(self) -> UsageRejects: ...

    @property
    def results(self) -> UsageResults: ...

    @property
    def offsets(self) -> UsageOffsets: ...

    @property
    def meters(self) -> Meters: ...

    @property
    def history(self) -> UsageHistory: ...

    @property
    def back_fills(self) -> BackFills: ...

    @property
    def retention(self) -> Retention: ...

    @property
    def bindings(self) -> Bindings: ...

    @property
    def windows(self) -> Windows: ...

    @property
    def subscriptions(self) -> Subscriptions: ...

    @property
    def readings(self) -> MeterReadings: ...

    @property
    def late(self) -> LateUsage: ...

    @property
    def window_corrections(self) -> WindowCorrections: ...

    @property
    def seals(self) -> UsageSeals: ...

    @property
    def balances(self) -> UsageBalances: ...

    @property
    def alerts(self) -> UsageAlerts: ...

    @property
    def reads(self) -> UsageReads: ...

    @property
    def outbox(self) -> Outbox: ...

    async def test_clock(self, clock_id: str | None) -> TestClock | None: ...

    async def count_pending_messages(self) -> int:
        """Messages of this tenant that failed and will be tried again; dead ones wait for people and do not count."""
        ...

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None: ...

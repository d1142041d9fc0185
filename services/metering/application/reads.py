"""What screens ask for: the filters, what is shown, and the port that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from libs.common.paging import PageRequest, Slice
from services.metering.domain.aggregation import Usage
from services.metering.domain.group_filter import GroupFilter
from services.metering.domain.late_usage import WindowCorrection
from services.metering.domain.level_steps import LevelStep
from services.metering.domain.meter import Meter
from services.metering.domain.metered_item import Span
from services.metering.domain.subject_binding import SubjectBinding
from services.metering.domain.usage_correction import CorrectionKind, UsageCorrection
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


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which usage alerts to list; None leaves open."""

    subscription_id: str | None = None
    customer_id: str | None = None
    item_id: str | None = None
    meter: str | None = None


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
class CorrectionFilter:
    source: str | None = None
    event_id: str | None = None
    kind: CorrectionKind | None = None


@dataclass(frozen=True, slots=True)
class CorrectionMark:
    """Why a raw event counts no more."""

    id: str
    kind: CorrectionKind
    reason: str
    author: str
    corrected_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A raw event as it was stored. `data_json` is its payload as JSON text, None when it had none.

    `corrected` is there when it counts no more; `amends` names the amendment that brought it.
    """

    event_id: str
    source: str
    type: str
    subject: str
    occurred_at: datetime
    arrived_at: datetime
    data_json: str | None
    corrected: CorrectionMark | None = None
    amends: str | None = None


@dataclass(frozen=True, slots=True)
class MeasuredEvent:
    """An event behind a figure, with what the meter took from it: a number, or the name of what it counts once.

    `group` has every dimension of the meter. Of a level there are steps: each holds from its event on, and the first
    of a span, whose event is None, is the level that was there before. `key` tells those of one instant apart.
    """

    event: StoredEvent | None
    subject: str
    at: datetime
    key: UUID
    group: Mapping[str, str | None]
    value: Decimal | None = None
    member: str | None = None
    is_in: bool = True
    step: LevelStep | None = None


@dataclass(frozen=True, slots=True)
class RejectResolution:
    """What was done about a reject: what became of the event that was sent in its place, or that nobody will send one."""

    outcome: Literal["stored", "duplicate", "dismissed"]
    resolved_at: datetime
    resolved_by: str
    note: str | None = None


RejectState = Literal["open", "resolved", "dismissed"]


@dataclass(frozen=True, slots=True)
class RejectView:
    reject: Reject
    first_seen_at: datetime
    last_seen_at: datetime
    seen_count: int
    resolution: RejectResolution | None = None

    @property
    def state(self) -> RejectState:
        if self.resolution is None:
            return "open"
        return "dismissed" if self.resolution.outcome == "dismissed" else "resolved"


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
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class WindowCorrectionFilter:
    window_id: str | None = None
    subscription_id: str | None = None
    customer_id: str | None = None
    is_billable: bool | None = None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Usage between two neighbouring bounds, of one group of the dimensions asked for."""

    slice: int
    group: tuple[str | None, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class BoundTo:
    """Bindings to an item, for one meter, of which a part lies between `start` and `end`."""

    item_id: str
    meter: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose usage the events behind a figure are, and of which time.

    `start` and `end` are those of the whole figure; with `spans`, only what lies in them counts. `item_ids` is None when
    a subject is meant as a whole. A level lasts `until` then at most, where that is given.
    """

    start: datetime
    end: datetime
    zone: str
    subject: str | None = None
    item_ids: Sequence[str] | None = None
    asset_id: str | None = None
    filters: GroupFilter = field(default_factory=dict)
    spans: Sequence[Span] | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AnswerPosition:
    """Of what an answer speaks: everything that was committed by `as_of`, which is what `snapshot` sees.

    `usage_topic`: by partition the offset that is stored next; what stands at or behind it was accepted, and no more.
    """

    as_of: datetime
    snapshot: str
    usage_topic: Mapping[int, int]


class UsageReads(Protocol):
    """Reads for screens; nothing here changes anything."""

    async def list_meters(
        self, page: PageRequest, *, code: str | None, event_type: str | None
    ) -> Slice[Meter]: ...

    async def list_meter_versions(self, code: str) -> Sequence[Meter]:
        """All versions of the meter, the newest last."""
        ...

    async def position(self) -> AnswerPosition:
        """What this transaction sees; all of its reads see the same if it is a snapshot."""
        ...

    async def list_events(self, wanted: EventFilter, page: PageRequest) -> Slice[StoredEvent]: ...

    async def list_rejects(
        self, page: PageRequest, *, source: str | None, state: RejectState | None
    ) -> Slice[RejectView]: ...

    async def list_conflicts(self, page: PageRequest, *, source: str | None) -> Slice[ConflictView]: ...

    async def list_corrections(
        self, wanted: CorrectionFilter, page: PageRequest
    ) -> Slice[UsageCorrection]: ...

    async def find_batch(self, batch_id: str) -> BatchResult | None:
        """What is settled of the batch; None when nothing is, or when that was too long ago."""
        ...

    async def has_failing_part(self, batch_id: str) -> bool:
        """Whether a part of the batch could not be stored, and waits to be tried again."""
        ...

    async def list_not_stored(self, page: PageRequest, *, batch_id: str | None) -> Slice[NotStoredView]: ...

    async def list_windows(self, wanted: WindowFilter, page: PageRequest) -> Slice[UsageWindow]: ...

    async def find_window(self, window_id: str) -> UsageWindow | None: ...

    async def list_window_corrections(
        self, wanted: WindowCorrectionFilter, page: PageRequest
    ) -> Slice[WindowCorrection]: ...

    async def list_bindings_of_item(self, wanted: BoundTo, page: PageRequest) -> Slice[SubjectBinding]:
        """In the order in which they begin."""
        ...

    async def list_measured_events(
        self, versions: Sequence[Meter], whose: Whose, page: PageRequest
    ) -> Slice[MeasuredEvent]:
        """By when they happened. Raises: TooManySteps."""
        ...

    async def latest_clock(self, item_ids: Sequence[str] | None) -> datetime | None:
        """The latest that a test clock of these items shows; None if none has one. `item_ids` None: of all."""
        ...

    async def find_items(
        self,
        *,
        item_id: str | None,
        subscription_id: str | None,
        customer_id: str | None,
        asset_id: str | None = None,
        of: str | None,
    ) -> Sequence[str] | None:
        """Ids of the metered items of the one that is named; None if it is unknown, or is not customer `of`'s.

        Those of an asset are the items for which a subject with that asset was ever bound.
        """
        ...

    async def sum_usage(
        self,
        versions: Sequence[Meter],
        bounds: Sequence[datetime],
        *,
        subject: str | None,
        item_ids: Sequence[str] | None,
        asset_id: str | None,
        dimensions: Sequence[str],
        filters: GroupFilter,
        zone: str,
        until: datetime,
        rows_max: int,
    ) -> Sequence[UsageRow]:
        """Where a level is integrated, it lasts `until` then at most."""
        ...

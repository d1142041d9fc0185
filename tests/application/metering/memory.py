"""Metering's unit of work in memory. Its sums are made from raw events each time they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from libs.common.clock import TestClock
from libs.common.paging import PageRequest, Slice
from services.metering.application.ports import (
    Arrival,
    Computed,
    LateNote,
    LateUsageRules,
    MeterBook,
    MeteredSubscription,
    Stored,
    Watched,
)
from services.metering.application.queries import MeterNotFound, UsageWindowNotFound
from services.metering.application.reads import (
    SETTLED_AS,
    AlertFilter,
    AnswerPosition,
    BatchResult,
    MeasuredEvent,
    NotStored,
    PartId,
    Reject,
    RejectResolution,
    RejectView,
    SettledPart,
    UsageConflict,
    UsageReads,
    UsageRow,
    Whose,
)
from services.metering.domain.aggregation import (
    NO_USAGE,
    BucketSums,
    Sums,
    TouchedBucket,
    TouchedSubjects,
    Usage,
    usage_of,
)
from services.metering.domain.back_fill import BackFill
from services.metering.domain.late_usage import (
    ChangedEvents,
    ChangedUsage,
    UsageChangeCause,
    WindowCorrection,
)
from services.metering.domain.measurement import measure
from services.metering.domain.meter import Meter
from services.metering.domain.subject_binding import BindingChange, SubjectBinding
from services.metering.domain.usage_alert import Firing, UsageAlert
from services.metering.domain.usage_balance import UsageBalance
from services.metering.domain.usage_correction import Place, RawEvent, StandingEvent, UsageCorrection
from services.metering.domain.usage_event import UsageEvent
from services.metering.domain.usage_retention import RawEventsGone, UsageRetention
from services.metering.domain.usage_seal import LeafTree, UsageDigest
from services.metering.domain.usage_window import UsageTotal, UsageWindow
from tests.support.memory import MemoryRepository, MemoryUnitOfWork

AT = datetime(2025, 1, 10, 10, tzinfo=UTC)


def an_event(id: str = "a", minutes: Any = 60, *, tenant: str | None = None, **changes: Any) -> UsageEvent:
    given: dict[str, Any] = {
        "tenant": tenant or MemoryMeteringUnitOfWork().tenant,
        "source": "s",
        "event_id": id,
        "type": "flight.landed",
        "subject": "N1",
        "time": AT,
        "arrived_at": AT,
        "data": {"minutes": minutes},
        "data_json": f'{{"minutes":{minutes}}}'.encode(),
    }
    return UsageEvent(**{**given, **changes})


def usage_by(meter: Meter, events: Iterable[UsageEvent]) -> Usage:
    """The slow way."""
    measured = [m for e in events if e.type == meter.event_type and (m := measure(meter, e.data)) is not None]
    values = [Decimal(m.value) for m in measured if m.value is not None]
    least, most = min(values, default=None), max(values, default=None)
    return usage_of(meter.aggregation, Sums(len(measured), sum(values, Decimal(0)), least, most))


class MemoryUsage:
    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.events: dict[bytes, UsageEvent] = {}
        self.rejects: dict[str, Reject] = {}
        self.conflicts: dict[str, UsageConflict] = {}
        self.added: list[BucketSums] = []
        self.computed: list[Computed] = []
        self.rebuilt: list[TouchedBucket] = []
        self.calls: list[str] = []
        self.gone: dict[str, RawEventsGone] = {}

    async def share(self) -> MeterBook:
        by_type: dict[str, list[Meter]] = defaultdict(list)
        for meter in self._uow.meters.by_code.values():
            by_type[meter.event_type].append(meter)
        ends = [w.window_end for w in self._uow.windows.by_id.values() if w.state != "open"]
        return MeterBook(by_type, max(ends, default=None), self._uow.retention.retention.kept_from)

    async def stop_writers(self) -> None:
        self.calls.append("stop_writers")

    async def wait_for_writers(self) -> None:
        self.calls.append("wait_for_writers")

    async def store(self, arrivals: Sequence[Arrival]) -> Stored:
        keys = [arrival.event.key for arrival in arrivals]
        assert len(keys) == len(set(keys)), "each key once"
        fresh = {key for key in keys if key not in self.events}
        known = {key: self.events[key].digest for key in keys if key not in fresh}
        self.events |= {a.event.key: a.event for a in arrivals if a.event.key in fresh}
        return Stored(frozenset(fresh), known)

    async def add_sums(self, sums: BucketSums) -> None:
        self.added.append(sums)

    async def keep_measurements(self, computed: Sequence[Computed]) -> None:
        self.computed += computed

    async def rebuild(self, touched: Sequence[TouchedBucket]) -> None:
        self.rebuilt += touched

    async def keep_rejects(self, rejects: Sequence[Reject]) -> None:
        self.rejects |= {reject.id: reject for reject in rejects}

    async def keep_conflicts(self, conflicts: Sequence[UsageConflict]) -> None:
        self.conflicts |= {conflict.id: conflict for conflict in conflicts}

    async def find_known(self, keys: Sequence[bytes]) -> Collection[bytes]:
        return {key for key in keys if key in self.events}

    async def sum_windows(
        self, windows: Sequence[UsageWindow], *, until: Mapping[str, datetime] | None = None
    ) -> Mapping[str, Sequence[UsageTotal]]:
        return {
            window.id: [self._total(window, place) for place in range(len(window.measured_items))]
            for window in windows
        }

    async def sum_windows_kept(
        self, windows: Sequence[UsageWindow]
    ) -> tuple[Mapping[str, Sequence[UsageTotal]], Mapping[str, RawEventsGone]]:
        kept = [window for window in windows if window.id not in self.gone]
        return await self.sum_windows(kept), {w.id: self.gone[w.id] for w in windows if w.id in self.gone}

    def _total(self, window: UsageWindow, place: int) -> UsageTotal:
        item = window.items[place]
        meter = self._uow.meters.by_code.get(item.meter)
        mine = (item.item_id, item.meter)
        bindings = [b for b in self._uow.bindings.by_id.values() if (b.item_id, b.meter) == mine]
        spans = [span for span in window.spans() if span.place == place]
        counted = [
            event
            for event in self.events.values()
            if any(span.start <= event.occurred_at < span.end for span in spans)
            and any(_holds(binding, event) for binding in bindings)
        ]
        usage = usage_by(meter, counted) if meter else NO_USAGE
        return UsageTotal(item.item_id, item.meter, usage.quantity, usage.event_count, item.price_id)


def _holds(binding: SubjectBinding, event: UsageEvent) -> bool:
    until = binding.bound_until
    return (
        binding.subject == event.subject
        and binding.bound_from <= event.occurred_at
        and (until is None or event.occurred_at < until)
    )


class MemoryCorrections:
    """How identities stand is told from the steps and the raw events, each time."""

    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.kept: list[UsageCorrection] = []

    async def find_standing(self, identities: Sequence[bytes]) -> Mapping[bytes, StandingEvent]:
        events = self._uow.usage.events
        return {identity: self._standing(events[identity]) for identity in identities if identity in events}

    def _standing(self, first: UsageEvent) -> StandingEvent:
        raw = RawEvent(first.type, first.subject, first.occurred_at, first.data)
        found = StandingEvent(first.key, 0, True, Place(first.key, first.occurred_at), first.digest, raw)
        for step in self.kept:
            if step.identity == first.key:
                place = step.replacement
                found = found.voided() if place is None else found.amended(self._uow.usage.events[place.key])
        return found

    async def keep(self, corrections: Sequence[UsageCorrection]) -> None:
        self.kept += corrections

    def counted(self) -> list[UsageEvent]:
        withdrawn = {step.withdrawn for step in self.kept}
        return [event for key, event in self._uow.usage.events.items() if key not in withdrawn]


class MemoryRejects:
    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.resolutions: dict[str, RejectResolution] = {}

    async def find(self, reject_id: str) -> RejectView | None:
        reject = self._uow.usage.rejects.get(reject_id)
        return None if reject is None else RejectView(reject, AT, AT, 1, self.resolutions.get(reject_id))

    async def resolve(self, reject_id: str, resolution: RejectResolution) -> bool:
        return self.resolutions.setdefault(reject_id, resolution) is resolution


class MemoryResults:
    def __init__(self) -> None:
        self.settled: dict[PartId, SettledPart] = {}
        self.not_stored: list[NotStored] = []

    async def find_settled(self, ids: Sequence[PartId]) -> Sequence[PartId]:
        return [id for id in ids if id in self.settled]

    async def keep(
        self, settled: Sequence[SettledPart], not_stored: Sequence[NotStored], *, kept: timedelta
    ) -> None:
        self.settled |= {part.id: part for part in settled}
        self.not_stored += not_stored


class MemoryOffsets:
    def __init__(self) -> None:
        self.by_partition: dict[int, int] = {}

    async def stored(self) -> Mapping[int, int]:
        return self.by_partition


class MemoryMeters:
    """`by_code` has the newest version of each."""

    def __init__(self) -> None:
        self.by_code: dict[str, Meter] = {}
        self.older: list[Meter] = []
        self.filling: set[str] = set()

    async def versions(self, code: str) -> Sequence[Meter]:
        newest = [self.by_code[code]] if code in self.by_code else []
        return [*(meter for meter in self.older if meter.code == code), *newest]

    async def get(self, meter_id: str) -> Meter:
        for meter in (*self.older, *self.by_code.values()):
            if meter.id == meter_id:
                return meter
        raise MeterNotFound("not there", id=meter_id)

    async def close(self, meter_id: str, valid_until: datetime) -> None:
        closed = replace(await self.get(meter_id), valid_until=valid_until)
        del self.by_code[closed.code]
        self.older.append(closed)

    async def find_filling(self, codes: Collection[str]) -> Collection[str]:
        return self.filling & set(codes)

    async def find_by_code(self, code: str) -> Meter | None:
        return self.by_code.get(code)

    async def count(self) -> int:
        return len(self.by_code)

    async def insert(self, meter: Meter) -> None:
        self.by_code[meter.code] = meter


class MemoryHistory:
    """Looks at the events that are stored; what is filled is only noted down."""

    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.filled: list[tuple[list[int], datetime, datetime | None]] = []

    def _happened(self, start: datetime) -> list[UsageEvent]:
        events = self._uow.usage.events.values()
        return sorted(
            (event for event in events if event.occurred_at >= start), key=lambda event: event.occurred_at
        )

    async def count_events(self, types: Sequence[str], start: datetime, *, looked_at_max: int) -> int | None:
        found = self._happened(start)
        return None if len(found) > looked_at_max else sum(event.type in types for event in found)

    async def estimate_events(self, start: datetime) -> int:
        return len(self._happened(start))

    async def find_event(self, start: datetime) -> datetime | None:
        return next((event.occurred_at for event in self._happened(start)), None)

    async def find_cut(
        self,
        types: Sequence[str],
        start: datetime,
        *,
        before: datetime | None,
        read_max: int,
        looked_at_max: int,
    ) -> datetime | None:
        found = 0
        for looked_at, event in enumerate(self._happened(start), 1):
            found += event.type in types
            if before is not None and event.occurred_at >= before:
                return None
            if found > read_max or looked_at > looked_at_max:
                return event.occurred_at
        return None

    async def events(
        self, meter: Meter, start: datetime, end: datetime | None
    ) -> AsyncIterator[tuple[bytes, datetime, Any]]:
        for event in self._happened(start):
            if event.type == meter.event_type and (end is None or event.occurred_at < end):
                yield event.key, event.occurred_at, event.data

    async def fill(self, meters: Sequence[Meter], start: datetime, end: datetime | None) -> int:
        self._uow.usage.calls.append("fill")
        self.filled.append(([meter.version for meter in meters], start, end))
        return sum(end is None or event.occurred_at < end for event in self._happened(start))


class MemoryBackFills:
    def __init__(self) -> None:
        self.by_id: dict[str, BackFill] = {}

    async def add(self, back_fill: BackFill) -> None:
        self.by_id[back_fill.id] = back_fill

    async def get(self, meter_id: str) -> BackFill:
        return self.by_id[meter_id]

    async def load(self, meter_ids: Sequence[str]) -> Mapping[str, BackFill]:
        return {id: self.by_id[id] for id in meter_ids if id in self.by_id}

    async def save(self, back_fill: BackFill) -> None:
        self.by_id[back_fill.id] = back_fill


class MemoryRetention:
    def __init__(self) -> None:
        self.retention = UsageRetention()
        self.needed: datetime | None = None
        self.due_at: datetime | None = None
        self.to_delete = 0

    async def kept_from(self) -> datetime | None:
        return self.retention.kept_from

    async def find(self, *, for_update: bool = False) -> UsageRetention:
        return self.retention

    async def save(self, retention: UsageRetention, *, due_at: datetime) -> None:
        self.retention, self.due_at = retention, due_at

    async def earliest_needed(self) -> datetime | None:
        return self.needed

    async def delete(self, rested: timedelta) -> int:
        deleted, self.to_delete = min(self.to_delete, 10), max(self.to_delete - 10, 0)
        return deleted


class MemoryAlerts:
    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.by_id: dict[str, UsageAlert] = {}
        self.firings: dict[str, Firing] = {}
        self.noted: set[str] = set()

    async def find_watched(
        self, *, subscription_id: str | None, item_id: str | None, meter: str
    ) -> Watched | None:
        for s in self._uow.subscriptions.by_id.values():
            for item in s.items:
                if (
                    item.meter == meter
                    and subscription_id in (None, s.id)
                    and item_id in (None, item.item_id)
                ):
                    return Watched(s.id, s.customer_id)
        return None

    async def add(self, alert: UsageAlert) -> None:
        self.by_id[alert.id] = alert

    async def count(self, subscription_id: str) -> int:
        return sum(alert.subscription_id == subscription_id for alert in self.by_id.values())

    async def find(self, alert_id: str, *, for_update: bool = False) -> UsageAlert | None:
        return self.by_id.get(alert_id)

    async def remove(self, alert_id: str) -> None:
        del self.by_id[alert_id]
        self.firings = {id: f for id, f in self.firings.items() if f.alert_id != alert_id}

    async def find_under_way(self, subscription_ids: Sequence[str]) -> Mapping[str, UsageWindow]:
        last: dict[str, UsageWindow] = {}
        for window in sorted(self._uow.windows.by_id.values(), key=lambda window: window.period_index):
            last[window.subscription_id] = window
        return {id: last[id] for id in subscription_ids if id in last and last[id].is_under_way}

    async def find_touched(self, touched: TouchedSubjects) -> Sequence[str]:
        meters = {meter for meter, _ in touched.subjects}
        return [alert.id for alert in self.by_id.values() if alert.meter in meters]

    async def note(self, alert_ids: Sequence[str]) -> None:
        self.noted |= set(alert_ids)

    async def find_fired(
        self, wanted: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], AbstractSet[int]]:
        found: dict[tuple[str, str], set[int]] = {}
        for firing in self.firings.values():
            if (firing.alert_id, firing.window_id) in wanted:
                found.setdefault((firing.alert_id, firing.window_id), set()).add(firing.place)
        return found

    async def record_firings(self, firings: Sequence[Firing]) -> AbstractSet[str]:
        made = {firing.id for firing in firings if firing.id not in self.firings}
        self.firings |= {firing.id: firing for firing in firings if firing.id in made}
        return made

    async def list_alerts(self, wanted: AlertFilter, page: PageRequest) -> Slice[UsageAlert]:
        return Slice(tuple(a for a in self.by_id.values() if wanted.customer_id in (None, a.customer_id)))

    async def list_firings(self, alert_id: str, page: PageRequest) -> Slice[Firing]:
        return Slice(tuple(f for f in self.firings.values() if f.alert_id == alert_id))


class MemorySubscriptions:
    def __init__(self) -> None:
        self.by_id: dict[str, MeteredSubscription] = {}

    def learn(self, subscription: MeteredSubscription) -> None:
        known = self.by_id.get(subscription.id)
        if known is None or known.version < subscription.version:
            self.by_id[subscription.id] = subscription

    async def late_usage_rules(self, subscription_ids: Collection[str]) -> Mapping[str, LateUsageRules]:
        return {
            id: LateUsageRules(s.late_usage, s.zone) for id, s in self.by_id.items() if id in subscription_ids
        }


class MemoryReadings:
    """No meter takes readings here: those that do are shown on a database."""

    async def newest_meters(self, codes: Collection[str]) -> Mapping[str, Meter]:
        return {}


class MemoryLateUsage:
    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.notes: list[LateNote] = []
        self.events: dict[str, ChangedEvents] = {}
        self.resting: dict[str, datetime] = {}

    def note_events(self, cause: UsageChangeCause, changed: Iterable[ChangedUsage]) -> None:
        self.noted += [(cause, *usage) for usage in changed]

    def note_binding(self, changes: Iterable[BindingChange]) -> None:
        self.noted += changes

    def note_meter(self, code: str) -> None:
        self.noted.append(("meter", code))

    def note_window(self, window_id: str) -> None:
        self.noted.append(("window", window_id))

    async def load(self, ids: Sequence[str]) -> Sequence[LateNote]:
        windows = {note.window_id for note in self.notes if note.id in ids}
        return [note for note in self.notes if note.window_id in windows]

    async def events_of(self, window_ids: Collection[str]) -> Mapping[str, ChangedEvents]:
        return {id: self.events[id] for id in window_ids if id in self.events}

    async def put_off(self, ids: Sequence[str], until: datetime) -> None:
        self.resting |= dict.fromkeys(ids, until)

    async def remove(self, ids: Sequence[str]) -> None:
        self.notes = [note for note in self.notes if note.id not in ids]


class MemoryWindowCorrections:
    def __init__(self) -> None:
        self.added: list[WindowCorrection] = []

    def add(self, correction: WindowCorrection) -> None:
        self.added.append(correction)


class MemoryBalances:
    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.noted: dict[str, timedelta] = {}
        self.noted_meters: list[str] = []
        self.touched: list[BucketSums] = []
        self.noted_subjects: set[tuple[str, str]] = set()
        self.by_item: dict[str, UsageBalance] = {}

    def note(self, item_ids: Iterable[str], *, after: timedelta = timedelta(0)) -> None:
        for id in item_ids:
            self.noted[id] = min(after, self.noted.get(id, after))

    def note_meter(self, code: str) -> None:
        self.noted_meters.append(code)

    def note_usage(self, sums: BucketSums) -> None:
        self.touched.append(sums)

    async def note_touched(self, touched: TouchedSubjects) -> None:
        self.noted_subjects |= touched.subjects

    async def load(self, item_ids: Sequence[str]) -> Sequence[UsageBalance]:
        return [self.by_item.get(id, UsageBalance(id)) for id in item_ids]

    async def find_under_way(self, item_ids: Sequence[str]) -> Mapping[str, UsageWindow]:
        last: dict[str, UsageWindow] = {}
        for window in sorted(self._uow.windows.by_id.values(), key=lambda window: window.period_index):
            last[window.subscription_id] = window
        return {
            item.item_id: last[s.id]
            for s in self._uow.subscriptions.by_id.values()
            for item in s.items
            if item.item_id in item_ids and s.id in last and last[s.id].is_under_way
        }

    async def settle(self, balances: Sequence[UsageBalance]) -> None:
        self.by_item |= {balance.item_id: balance for balance in balances}
        for balance in balances:
            self.noted.pop(balance.item_id, None)


class MemoryReads:
    """What the queries of these tests ask; the rest is read from the database only."""

    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.asked: dict[str, Any] = {}
        self.failing_batches: set[str] = set()
        self.older_versions: list[Meter] = []
        self.used: list[tuple[datetime, Mapping[str, str | None], Decimal]] = []
        self.measured: Slice[MeasuredEvent] = Slice(items=())

    async def list_meter_versions(self, code: str) -> Sequence[Meter]:
        newest = self._uow.meters.by_code.get(code)
        return [*(m for m in self.older_versions if m.code == code), *([newest] if newest else [])]

    async def position(self) -> AnswerPosition:
        return AnswerPosition(AT, "10:12:11", self._uow.offsets.by_partition)

    async def list_measured_events(
        self, versions: Sequence[Meter], whose: Whose, page: PageRequest
    ) -> Slice[MeasuredEvent]:
        self.asked |= {"versions": versions, "whose": whose, "page": page}
        return self.measured

    async def find_batch(self, batch_id: str) -> BatchResult | None:
        parts = [part for part in self._uow.results.settled.values() if part.id.batch_id == batch_id]
        if not parts:
            return None
        counts = {status: sum(part.counts.get(status, 0) for part in parts) for status in SETTLED_AS}
        return BatchResult(batch_id, parts[0].batch_event_count, counts, parts[0].arrived_at)

    async def has_failing_part(self, batch_id: str) -> bool:
        return batch_id in self.failing_batches

    async def find_window(self, window_id: str) -> UsageWindow | None:
        return self._uow.windows.by_id.get(window_id)

    async def list_windows(self, wanted: Any, page: PageRequest) -> Slice[UsageWindow]:
        self.asked["windows"] = wanted
        return Slice(tuple(self._uow.windows.by_id.values()))

    async def list_bindings_of_item(self, wanted: Any, page: PageRequest) -> Slice[SubjectBinding]:
        mine = [b for b in self._uow.bindings.by_id.values() if b.item_id == wanted.item_id]
        return Slice(tuple(sorted(mine, key=lambda binding: binding.bound_from)))

    async def latest_clock(self, item_ids: Sequence[str] | None) -> datetime | None:
        return None

    async def find_items(self, **wanted: str | None) -> Sequence[str] | None:
        self.asked["items"] = wanted
        found = [
            item.item_id
            for s in self._uow.subscriptions.by_id.values()
            for item in s.items
            if wanted["of"] in (None, s.customer_id)
            and wanted["customer_id"] in (None, s.customer_id)
            and wanted["subscription_id"] in (None, s.id)
            and wanted["item_id"] in (None, item.item_id)
            and (
                wanted.get("asset_id") is None
                or any(
                    (b.item_id, b.asset_id) == (item.item_id, wanted["asset_id"])
                    for b in self._uow.bindings.by_id.values()
                )
            )
        ]
        return found or None

    async def sum_usage(
        self, versions: Sequence[Meter], bounds: Sequence[datetime], **wanted: Any
    ) -> Sequence[UsageRow]:
        """What was `used`, added up; only the first rows, and one more, as the real one does."""
        self.asked |= {"versions": versions, "bounds": bounds, **wanted}
        sums: dict[tuple[int, tuple[str | None, ...]], Usage] = {}
        for at, group, quantity in self.used:
            if not bounds[0] <= at < bounds[-1]:
                continue
            if any(group.get(name) not in allowed for name, allowed in wanted["filters"].items()):
                continue
            place = bisect_right(bounds, at) - 1, tuple(group.get(name) for name in wanted["dimensions"])
            known = sums.get(place, NO_USAGE)
            sums[place] = Usage(known.quantity + quantity, known.event_count + 1)
        rows = [UsageRow(number, group, usage) for (number, group), usage in sums.items()]
        rows.sort(key=lambda row: (row.slice, str(row.group)))
        return rows[: wanted["rows_max"] + 1]


class MemorySeals:
    """Windows that were noted, what was sealed, and the trees that reading finds."""

    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.notes: dict[str, str] = {}
        self.digests: list[UsageDigest] = []
        self.trees: dict[tuple[str, int], LeafTree] = {}
        self.has_changed = False

    def note(self, window: UsageWindow) -> None:
        self.notes[f"useal_{len(self.notes)}"] = window.id

    async def noted(self, note_ids: Sequence[str]) -> Mapping[str, str]:
        return {id: self.notes[id] for id in note_ids}

    async def remove(self, note_ids: Collection[str]) -> None:
        for id in note_ids:
            del self.notes[id]

    async def find_settled(
        self, window_ids: Collection[str], *, noted_only_by: Collection[str] | None = None
    ) -> Mapping[str, UsageWindow]:
        if noted_only_by is not None and self.has_changed:
            return {}
        found = {id: await self._uow.windows.get_for_update(id) for id in window_ids}
        return {id: window for id, window in found.items() if window.state == "closed"}

    async def newest(self, window_ids: Collection[str]) -> Mapping[str, Sequence[UsageDigest]]:
        return {id: await self.of_window(id, None) for id in window_ids}

    async def of_window(self, window_id: str, revision: int | None) -> Sequence[UsageDigest]:
        mine = [d for d in self.digests if d.window_id == window_id and revision in (None, d.revision)]
        return [digest for digest in mine if digest.seal == mine[-1].seal]

    async def add(self, digests: Sequence[UsageDigest], *, sealed_at: datetime) -> None:
        self.digests += digests

    async def read(
        self, wanted: Sequence[tuple[UsageWindow, int]], zones: Mapping[str, str]
    ) -> Mapping[tuple[str, int], LeafTree]:
        return {(window.id, place): self.trees[window.id, place] for window, place in wanted}


class MemoryMeteringUnitOfWork(MemoryUnitOfWork):
    def __init__(self) -> None:
        super().__init__()
        self.usage = MemoryUsage(self)
        self.corrections = MemoryCorrections(self)
        self.rejects = MemoryRejects(self)
        self.results = MemoryResults()
        self.offsets = MemoryOffsets()
        self.meters = MemoryMeters()
        self.bindings: MemoryRepository[SubjectBinding] = MemoryRepository(_not_found)
        self.windows: MemoryRepository[UsageWindow] = MemoryRepository(_not_found)
        self.subscriptions = MemorySubscriptions()
        self.readings = MemoryReadings()
        self.late = MemoryLateUsage()
        self.window_corrections = MemoryWindowCorrections()
        self.seals = MemorySeals(self)
        self.balances = MemoryBalances(self)
        self.alerts = MemoryAlerts(self)
        self.history = MemoryHistory(self)
        self.back_fills = MemoryBackFills()
        self.retention = MemoryRetention()
        self.memory_reads = MemoryReads(self)
        self.reads = cast(UsageReads, self.memory_reads)
        self.pending_messages = 0

    async def count_pending_messages(self) -> int:
        return self.pending_messages

    async def test_clock(self, clock_id: str | None) -> TestClock | None:
        return TestClock(clock_id, AT) if clock_id else None


def _not_found(id: str) -> UsageWindowNotFound:
    return UsageWindowNotFound("not there", id=id)

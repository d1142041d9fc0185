"""Metering's unit of work in memory. Its sums are made from raw events each time they are asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from libs.common.clock import TestClock
from libs.common.paging import PageRequest, Slice
from services.metering.application.ports import Arrival, LateNote, MeterBook, MeteredSubscription, Stored
from services.metering.application.queries import UsageWindowNotFound
from services.metering.application.reads import (
    SETTLED_AS,
    BatchResult,
    NotStored,
    PartId,
    Reject,
    SettledPart,
    UsageConflict,
    UsageReads,
    UsageRow,
)
from services.metering.domain.aggregation import NO_USAGE, BucketSums, TouchedBucket, Usage, usage_of
from services.metering.domain.measurement import measure
from services.metering.domain.meter import Meter
from services.metering.domain.subject_binding import BindingChange, SubjectBinding
from services.metering.domain.usage_balance import UsageBalance
from services.metering.domain.usage_event import UsageEvent
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
    return usage_of(
        meter.aggregation,
        event_count=len(measured),
        total=sum(values, Decimal(0)),
        maximum=max(values, default=None),
    )


class MemoryUsage:
    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.events: dict[bytes, UsageEvent] = {}
        self.rejects: dict[str, Reject] = {}
        self.conflicts: dict[str, UsageConflict] = {}
        self.added: list[BucketSums] = []
        self.calls: list[str] = []

    async def share(self) -> MeterBook:
        by_type: dict[str, list[Meter]] = defaultdict(list)
        for meter in self._uow.meters.by_code.values():
            by_type[meter.event_type].append(meter)
        ends = [w.window_end for w in self._uow.windows.by_id.values() if w.state != "open"]
        return MeterBook(by_type, max(ends, default=None))

    async def stop_writers(self) -> None:
        self.calls.append("stop_writers")

    async def wait_for_writers(self) -> None:
        self.calls.append("wait_for_writers")

    async def store(self, arrivals: Sequence[Arrival]) -> Stored:
        keys = [arrival.event.key for arrival in arrivals]
        assert keys == sorted(set(keys)), "each key once, and in order"
        fresh = {key for key in keys if key not in self.events}
        known = {key: self.events[key].digest for key in keys if key not in fresh}
        self.events |= {a.event.key: a.event for a in arrivals if a.event.key in fresh}
        return Stored(frozenset(fresh), known)

    async def add_sums(self, sums: BucketSums) -> None:
        self.added.append(sums)

    async def keep_rejects(self, rejects: Sequence[Reject]) -> None:
        self.rejects |= {reject.id: reject for reject in rejects}

    async def keep_conflicts(self, conflicts: Sequence[UsageConflict]) -> None:
        self.conflicts |= {conflict.id: conflict for conflict in conflicts}

    async def back_fill(self, meter: Meter) -> int:
        self.calls.append(f"back_fill {meter.code}")
        return 0

    async def sum_windows(self, windows: Sequence[UsageWindow]) -> Mapping[str, Sequence[UsageTotal]]:
        return {
            window.id: [self._total(window, place) for place in range(len(window.measured_items))]
            for window in windows
        }

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
    def __init__(self) -> None:
        self.by_code: dict[str, Meter] = {}

    async def find_by_code(self, code: str) -> Meter | None:
        return self.by_code.get(code)

    async def count(self) -> int:
        return len(self.by_code)

    async def insert(self, meter: Meter) -> None:
        self.by_code[meter.code] = meter


class MemorySubscriptions:
    def __init__(self) -> None:
        self.by_id: dict[str, MeteredSubscription] = {}

    def learn(self, subscription: MeteredSubscription) -> None:
        known = self.by_id.get(subscription.id)
        if known is None or known.version < subscription.version:
            self.by_id[subscription.id] = subscription


class MemoryLateUsage:
    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.notes: list[LateNote] = []

    def note_usage(self, touched: Iterable[TouchedBucket]) -> None:
        self.noted += touched

    def note_binding(self, changes: Iterable[BindingChange]) -> None:
        self.noted += changes

    def note_meter(self, code: str) -> None:
        self.noted.append(("meter", code))

    def note_window(self, window_id: str) -> None:
        self.noted.append(("window", window_id))

    async def load(self, ids: Sequence[str]) -> Sequence[LateNote]:
        return [note for note in self.notes if note.id in ids]

    async def remove(self, ids: Sequence[str]) -> None:
        self.notes = [note for note in self.notes if note.id not in ids]


class MemoryBalances:
    def __init__(self, uow: MemoryMeteringUnitOfWork) -> None:
        self._uow = uow
        self.noted: dict[str, timedelta] = {}
        self.noted_meters: list[str] = []
        self.touched: list[BucketSums] = []
        self.by_item: dict[str, UsageBalance] = {}

    def note(self, item_ids: Iterable[str], *, after: timedelta = timedelta(0)) -> None:
        for id in item_ids:
            self.noted[id] = min(after, self.noted.get(id, after))

    def note_meter(self, code: str) -> None:
        self.noted_meters.append(code)

    def note_usage(self, sums: BucketSums) -> None:
        self.touched.append(sums)

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
        self.rows: list[UsageRow] = []

    async def find_meter_by_code(self, code: str) -> Meter | None:
        return self._uow.meters.by_code.get(code)

    async def find_meter(self, meter_id: str) -> Meter | None:
        return next((m for m in self._uow.meters.by_code.values() if m.id == meter_id), None)

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
        ]
        return found or None

    async def sum_usage(self, meter: Meter, bounds: Sequence[datetime], **wanted: Any) -> Sequence[UsageRow]:
        self.asked |= {"bounds": bounds, **wanted}
        return self.rows[: wanted["rows_max"] + 1]


class MemoryMeteringUnitOfWork(MemoryUnitOfWork):
    def __init__(self) -> None:
        super().__init__()
        self.usage = MemoryUsage(self)
        self.results = MemoryResults()
        self.offsets = MemoryOffsets()
        self.meters = MemoryMeters()
        self.bindings: MemoryRepository[SubjectBinding] = MemoryRepository(_not_found)
        self.windows: MemoryRepository[UsageWindow] = MemoryRepository(_not_found)
        self.subscriptions = MemorySubscriptions()
        self.late = MemoryLateUsage()
        self.balances = MemoryBalances(self)
        self.memory_reads = MemoryReads(self)
        self.reads = cast(UsageReads, self.memory_reads)
        self.pending_messages = 0

    async def count_pending_messages(self) -> int:
        return self.pending_messages

    async def test_clock(self, clock_id: str | None) -> TestClock | None:
        return TestClock(clock_id, AT) if clock_id else None


def _not_found(id: str) -> UsageWindowNotFound:
    return UsageWindowNotFound("not there", id=id)

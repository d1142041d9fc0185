"""Usage topic → database: whole polls in one transaction, together with how far the topic is stored.

The place in the topic is a row of ours, changed in the transaction that stores. So whatever dies, is delivered
twice, or is taken over by another worker half-way: each record is stored once, and none is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from opentelemetry.trace import SpanKind

from libs.common.clock import Clock
from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.messaging.alarm import Alarm
from libs.common.messaging.bus import Bus, Delivery, Subscription
from libs.common.messaging.failures import Failures
from libs.common.messaging.handlers import UnreadableMessage
from libs.common.persistence.outage import is_lost_race, is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from libs.common.telemetry import metrics, process_batch_attributes, root_span
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.adapters.usage_months import UsageMonths
from services.metering.adapters.usage_offsets import USAGE_GROUP
from services.metering.application.ingest_usage_events import months_needed
from services.metering.application.settle_usage_parts import (
    SettleUsageParts,
    UsagePart,
    settle_usage_parts,
)
from services.metering.domain.usage_event import AcceptWindow
from services.metering.domain.usage_window import Offsets
from services.metering.entrypoints.balance_notes import BalanceNotes
from services.metering.entrypoints.usage_records import read_part, traceparents_of

log = logging.getLogger(__name__)

RECORDS_MAX = 1_000
EVENTS_PER_RECORD = 50  # until we know better
POLL_S = 1.0
RETRY_LOOK_S = 1.0
OUTAGE_PAUSE_FIRST_S, OUTAGE_PAUSE_MAX_S = 0.1, 5.0
RACES_MAX = 20
TURN_RECORDS = 5  # read before others get a turn


class PartitionMoved(Exception):
    """The records at hand do not begin where the topic is stored up to: somebody else stored, or they came again."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A delivery and what it says; `part` None when it cannot be read, and is kept among the failures."""

    delivery: Delivery
    tenant: str = ""
    part: UsagePart | None = None

    @property
    def event_count(self) -> int:
        return 0 if self.part is None else len(self.part.batch.events)


class UsageConsumer:
    """Stores what the usage topic brings; `writers` transactions at a time, each with partitions of its own.

    What cannot be stored is found by halves and kept among the failures, and its neighbours go on. A lost race
    repeats the whole. An outage is nobody's fault and is waited out, however long it takes.
    """

    def __init__(
        self,
        *,
        service: str,
        bus: Bus,
        units: UnitsOfWork[MeteringUnitOfWork],
        months: UsageMonths,
        clock: Clock,
        accept: AcceptWindow,
        member: str,
        stopping: Stopping,
        results_kept: timedelta,
        writers: int,
        commit_events_max: int,
        wake: Sequence[Alarm] = (),
        poll_s: float = POLL_S,
    ) -> None:
        self._service, self._bus, self._units, self._months = service, bus, units, months
        self._clock, self._accept, self._member, self._stopping = clock, accept, member, stopping
        self._results_kept, self._writers = results_kept, writers
        self._commit_events_max, self._wake = commit_events_max, wake
        self._poll_s = poll_s
        self._events_per_record = EVENTS_PER_RECORD
        self._placed: frozenset[int] = (
            frozenset()
        )  # partitions of ours that we read from where they are stored up to
        self._sought: dict[int, int] = {}  # where we asked a partition to go on, until it has
        self.failures = Failures(units, USAGE_GROUP)
        self._notes = BalanceNotes(units, service=service, clock=clock, wake=wake)

    async def run(self) -> None:
        """Store until told to stop: what is in hand is finished and acknowledged, then the group is left."""
        pause_s = OUTAGE_PAUSE_FIRST_S
        while not self._stopping.is_set():
            try:
                self._placed, self._sought = frozenset(), {}
                async with self._bus.subscribe(
                    USAGE_GROUP, [USAGE_TOPIC], member=self._member
                ) as subscription:
                    while not self._stopping.is_set():
                        await self._step(subscription)
                        pause_s = OUTAGE_PAUSE_FIRST_S
            except Exception as error:
                if not is_outage(error):
                    log.exception("usage consumer stumbled")
                await self._stopping.pause(pause_s)
                pause_s = min(pause_s * 2, OUTAGE_PAUSE_MAX_S)
        await self._notes.close()

    async def _step(self, subscription: Subscription) -> None:
        records_max = max(
            1, min(RECORDS_MAX, self._commit_events_max * self._writers // self._events_per_record)
        )
        deliveries = await subscription.poll(records_max=records_max, timeout_s=self._poll_s)
        owned = frozenset(partition for _, partition in subscription.owned())
        news = owned - self._placed
        if news:
            await self._place(subscription, news)
            deliveries = [delivery for delivery in deliveries if delivery.partition not in news]
        self._placed = owned
        if not deliveries or self._stopping.is_set():
            return  # what was delivered after the word came is not begun: it comes again, to whoever is next
        moved = await self._until_over(subscription, deliveries)
        done = [delivery for delivery in deliveries if delivery.partition not in moved]
        if done:
            await subscription.acknowledge(done)
            for alarm in self._wake:
                alarm.ring()

    async def _place(self, subscription: Subscription, partitions: Collection[int]) -> None:
        """Go on where the partitions are stored up to, whatever the group has acknowledged."""
        async with self._units.open_for_many() as uow:
            await uow.become("", USAGE_GROUP)
            await uow.offsets.begin(partitions)
            stored = await uow.offsets.stored()
        begins = await self._bus.begin_offsets(USAGE_TOPIC)
        for partition in partitions:
            self._sought[partition] = stored[partition]
            await subscription.seek(USAGE_TOPIC, partition, max(stored[partition], begins.get(partition, 0)))

    async def _until_over(self, subscription: Subscription, deliveries: Sequence[Delivery]) -> set[int]:
        """Store them; returns the partitions that have to be read again, which is arranged for."""
        chunks = await self._chunks(await self._read(deliveries))
        moved: set[int] = set()
        pause_s = OUTAGE_PAUSE_FIRST_S
        while any(chunks):
            outcomes = await asyncio.gather(
                *(self._write(own, moved) for own in chunks if own), return_exceptions=True
            )
            errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            for error in errors:
                if not is_outage(error):
                    raise error
            if errors:
                log.warning("outage: waiting", extra={"group": USAGE_GROUP, "error": repr(errors[0])[:300]})
                await subscription.keep_alive()
                await self._stopping.pause(pause_s)
                if self._stopping.is_set():
                    return moved | {
                        read.delivery.partition for own in chunks for chunk in own for read in chunk
                    }
                pause_s = min(pause_s * 2, OUTAGE_PAUSE_MAX_S)
        if moved:
            await self._place(subscription, moved)
        return moved

    async def _read(self, deliveries: Sequence[Delivery]) -> list[_Read]:
        found: list[_Read] = []
        now = self._clock.system_now()
        for number, delivery in enumerate(deliveries, 1):
            try:
                found.append(_Read(delivery, *read_part(delivery, now=now)))
            except UnreadableMessage as error:
                await self._keep(delivery, error)
                found.append(_Read(delivery))
            if not number % TURN_RECORDS:
                await asyncio.sleep(0)
        event_count = sum(read.event_count for read in found)
        self._events_per_record = max(1, event_count // len(found))
        return found

    async def _chunks(self, found: Iterable[_Read]) -> list[deque[list[_Read]]]:
        """For each writer what it stores, a transaction at a time, a partition always by the same one."""
        chunks: list[deque[list[_Read]]] = [deque() for _ in range(self._writers)]
        counts = [0] * self._writers
        for read in found:
            writer = read.delivery.partition % self._writers
            own = chunks[writer]
            if not own or counts[writer] + read.event_count > self._commit_events_max:
                own.append([])
                counts[writer] = 0
            own[-1].append(read)
            counts[writer] += read.event_count
        return chunks

    async def _write(self, chunks: deque[list[_Read]], moved: set[int]) -> None:
        """A chunk leaves the line once it is stored. Raises: only what is an outage."""
        while chunks:
            try:
                await self._store_by_halves(chunks[0])
            except PartitionMoved as error:
                log.info("usage partition moved", extra={"group": USAGE_GROUP, "found": str(error)})
                moved |= {read.delivery.partition for chunk in chunks for read in chunk}
                chunks.clear()
                return
            chunks.popleft()

    async def _store_by_halves(self, chunk: Sequence[_Read]) -> None:
        error = await self._try_together(chunk)
        if error is None:
            return
        if len(chunk) == 1:
            await self._keep(chunk[0].delivery, error)
            await self._store([_Read(chunk[0].delivery)])
            return
        middle = len(chunk) // 2
        await self._store_by_halves(chunk[:middle])
        await self._store_by_halves(chunk[middle:])

    async def _try_together(
        self, chunk: Sequence[_Read], *, resolves: Delivery | None = None
    ) -> Exception | None:
        """What went wrong, if anything. Raises: what is an outage, or PartitionMoved."""
        try:
            await self._store(chunk, resolves=resolves)
        except Exception as error:
            if isinstance(error, PartitionMoved) or is_outage(error):
                raise
            return error
        return None

    async def _store(self, chunk: Sequence[_Read], *, resolves: Delivery | None = None) -> None:
        """One transaction; a lost race repeats the whole."""
        batches = [read.part.batch for read in chunk if read.part is not None]
        await self._months.ensure(months_needed(batches, self._accept))
        attributes = {
            **process_batch_attributes(USAGE_TOPIC, USAGE_GROUP, len(chunk)),
            "perennial.usage.events": sum(read.event_count for read in chunk),
        }
        for attempt in range(1, RACES_MAX + 1):
            try:
                with (
                    root_span(
                        f"process batch {USAGE_GROUP}",
                        kind=SpanKind.CONSUMER,
                        links=traceparents_of([read.delivery for read in chunk]),
                        attributes=attributes,
                    ),
                    metrics.consumer_batch(self._service, USAGE_GROUP),
                ):
                    async with self._units.open_for_many() as uow:
                        await uow.become("", USAGE_GROUP)
                        if resolves is None:
                            await self._advance(chunk, uow)
                        else:
                            await self.failures.resolve(uow, resolves)
                        counted = await self._settle(chunk, uow)
                break
            except Exception as error:
                if attempt == RACES_MAX or not is_lost_race(error):
                    raise
                await asyncio.sleep(0.01 * attempt)
        self._notes.add(uow.balances.touched)
        for read in chunk:
            self._sought.pop(read.delivery.partition, None)
        for status, count in counted.items():
            metrics.usage_events(self._service, status, count)

    async def _advance(self, chunk: Sequence[_Read], uow: MeteringUnitOfWork) -> None:
        """Lock, compare, set. Raises: PartitionMoved."""
        firsts: dict[int, int] = {}
        nexts: dict[int, int] = {}
        for read in chunk:
            firsts.setdefault(read.delivery.partition, read.delivery.offset)
            nexts[read.delivery.partition] = read.delivery.offset + 1
        stored = await uow.offsets.lock(firsts)
        for partition, first in firsts.items():
            if first != stored.get(partition, -1) and not self._is_gap(partition, first, stored):
                raise PartitionMoved(f"partition {partition}: {first}, not {stored.get(partition)}")
        await uow.offsets.move(nexts)

    def _is_gap(self, partition: int, first: int, stored: Offsets) -> bool:
        """Whether the records between are gone for good: we asked for exactly these, and were given what follows."""
        begin = stored.get(partition)
        if begin is None or first < begin or self._sought.get(partition) != begin:
            return False
        if begin:
            told = {"partition": partition, "from_offset": begin, "to_offset": first}
            log.error("usage records are gone from the topic, and were not stored", extra=told)
        return True

    async def _settle(self, chunk: Sequence[_Read], uow: MeteringUnitOfWork) -> Counter[str]:
        """In tenant order; within a tenant in the order of delivery."""
        by_tenant: dict[str, list[UsagePart]] = defaultdict(list)
        for read in chunk:
            if read.part is not None:
                by_tenant[read.tenant].append(read.part)
        counted: Counter[str] = Counter()
        for tenant in sorted(by_tenant):
            await uow.become(tenant, f"topic:{USAGE_TOPIC}")
            command = SettleUsageParts(by_tenant[tenant], self._results_kept)
            counted += await settle_usage_parts(command, uow=uow, accept=self._accept)
        return counted

    async def _keep(self, delivery: Delivery, error: Exception) -> None:
        await self.failures.keep(delivery, error)
        self._tell_failure(delivery, error)

    def _tell_failure(self, delivery: Delivery, error: Exception, *, dead: bool = False) -> None:
        log.log(
            logging.ERROR if dead else logging.WARNING,
            "message given up" if dead else "message failed",
            extra={"group": USAGE_GROUP, "message_id": delivery.headers.get("ce_id")},
            exc_info=error,
        )
        metrics.failed(self._service, "unknown")

    async def run_retries(self) -> None:
        """Try failed records again when their pause is over, until told to stop."""
        while not self._stopping.is_set():
            try:
                await self.retry_due()
                dead_count = await self.failures.count_dead()
                metrics.dead_letters(self._service, dead_count, group=USAGE_GROUP)
            except Exception as error:
                if not is_outage(error):
                    log.exception("retry stumbled", extra={"group": USAGE_GROUP})
            await self._stopping.pause(RETRY_LOOK_S)

    async def retry_due(self) -> int:
        """Try all failed records whose pause is over; returns how many. Raises: what is an outage."""
        count = 0
        while not self._stopping.is_set() and (delivery := await self.failures.next_due()) is not None:
            error = await self._retry(delivery)
            if error is not None:
                dead = await self.failures.put(delivery, error)
                self._tell_failure(delivery, error, dead=dead)
            count += 1
            for alarm in self._wake:
                alarm.ring()
        return count

    async def _retry(self, delivery: Delivery) -> Exception | None:
        try:
            read = _Read(delivery, *read_part(delivery, now=self._clock.system_now()))
        except UnreadableMessage as error:
            return error
        return await self._try_together([read], resolves=delivery)

"""Requests that arrive together are published together: a bounded queue between the routes and the usage topic."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from opentelemetry.trace import SpanKind

from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.messaging.bus import Bus, Record, UnknownTopic
from libs.common.persistence.outage import is_outage
from libs.common.telemetry import current_traceparent, metrics, root_span, send_attributes, service_scope
from services.metering.application.accept_usage_events import ACCEPTED, accept_usage_events
from services.metering.application.ingest_usage_events import EventResult, UsageBatch
from services.metering.domain.usage_event import AcceptWindow
from services.metering.entrypoints.ingest_queue import IngestBusy
from services.metering.entrypoints.usage_records import records_of

PUBLISHERS = 2


@dataclass(eq=False, slots=True)
class _Waiting:
    records: Sequence[Record]
    event_count: int
    done: asyncio.Future[None]
    traceparent: str | None


class UsagePublisher:
    """A publisher takes all that waits, up to `publish_events_max` events, into one call of the bus.

    While it waits for the bus, the next requests gather. When `submit` returns, the bus has the events for good.
    Publishers are started when there is something to do, and end when there is nothing.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        service: str,
        accept: AcceptWindow,
        publish_events_max: int,
        queue_events_max: int,
    ) -> None:
        self._bus, self._service, self._accept = bus, service, accept
        self._publish_events_max, self._queue_events_max = publish_events_max, queue_events_max
        self._waiting: deque[_Waiting] = deque()
        self._publishers: set[asyncio.Task[None]] = set()
        self._partition_count = 0
        self.waiting_events = 0
        self._gauge = metrics.usage_waiting(service)
        metrics.usage_waiting_max(service, queue_events_max)

    async def submit(self, tenant: str, batch: UsageBatch) -> Sequence[EventResult]:
        """Publish a batch; returns once it is on the topic: `accepted`, or rejected at once, for each event.

        Raises: IngestBusy, and nothing was taken; BusUnavailable, and what of it is there may be sent again.
        """
        if self.waiting_events and self.waiting_events + len(batch.events) > self._queue_events_max:
            raise IngestBusy(
                "too many usage events are waiting to be published",
                retry_after_s=1,
                remedy="Send it again after a moment; what is sent twice is counted once.",
            )
        self._count(len(batch.events))
        try:
            traceparent = current_traceparent()
            accepted = accept_usage_events(batch, accept=self._accept)
            partitions = self._partition_count or await self._count_partitions()
            records = records_of(tenant, accepted.batch, partitions=partitions, traceparent=traceparent)
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(_Waiting(records, len(batch.events), done, traceparent))
            self._start_publisher()
            await asyncio.shield(done)
        finally:
            self._count(-len(batch.events))
        metrics.usage_events(self._service, ACCEPTED.status, accepted.results.count(ACCEPTED))
        return accepted.results

    async def close(self) -> None:
        """Wait for what was taken in."""
        while self._publishers:
            await asyncio.gather(*self._publishers, return_exceptions=True)

    async def _count_partitions(self) -> int:
        """Asked once: a topic that is given more partitions is used in full after a restart."""
        count = len(await self._bus.end_offsets(USAGE_TOPIC))
        if not count:
            raise UnknownTopic("nobody has made the usage topic", topic=USAGE_TOPIC)
        self._partition_count = count
        return count

    def _count(self, change: int) -> None:
        self.waiting_events += change
        self._gauge.set(self.waiting_events)

    def _start_publisher(self) -> None:
        if len(self._publishers) < PUBLISHERS:
            # In a context of its own: the publisher's spans are not the first sender's.
            self._publishers.add(asyncio.create_task(self._publish_all(), context=contextvars.Context()))

    async def _publish_all(self) -> None:
        try:
            with service_scope(self._service):
                while self._waiting:
                    await self._publish_some(self._take())
        finally:  # in the same turn in which nothing was found: whoever comes next starts a publisher
            self._publishers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _publish_some(self, taken: Sequence[_Waiting]) -> None:
        try:
            await self._publish_by_halves(taken)
        finally:
            for waiting in taken:
                if not waiting.done.done():  # only if we are being canceled
                    waiting.done.cancel()

    def _take(self) -> list[_Waiting]:
        taken = [self._waiting.popleft()]
        event_count = taken[0].event_count
        while self._waiting and event_count + self._waiting[0].event_count <= self._publish_events_max:
            taken.append(self._waiting.popleft())
            event_count += taken[-1].event_count
        return taken

    async def _publish_by_halves(self, taken: Sequence[_Waiting]) -> None:
        """A request that the bus refuses is found by halves, and fails alone. What is published twice is read twice."""
        try:
            await self._publish(taken)
        except Exception as error:
            if len(taken) > 1 and not is_outage(error):
                middle = len(taken) // 2
                await self._publish_by_halves(taken[:middle])
                await self._publish_by_halves(taken[middle:])
                return
            for waiting in taken:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
            return
        for waiting in taken:
            if not waiting.done.done():
                waiting.done.set_result(None)

    async def _publish(self, taken: Sequence[_Waiting]) -> None:
        records = [record for waiting in taken for record in waiting.records]
        with root_span(
            f"send {USAGE_TOPIC}",
            kind=SpanKind.PRODUCER,
            links=[waiting.traceparent for waiting in taken],
            attributes={
                **send_attributes(USAGE_TOPIC, message_count=len(records)),
                "perennial.usage.events": sum(waiting.event_count for waiting in taken),
            },
        ):
            await self._bus.publish(records)

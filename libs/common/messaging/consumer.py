"""Poll → read → one unit of work → claim → handle → commit → acknowledge."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Generic, TypeVar

from libs.common.contracts import EVENTS
from libs.common.contracts.envelope import Event
from libs.common.messaging import inbox
from libs.common.messaging.alarm import Alarm
from libs.common.messaging.bus import Bus, Delivery, Subscription
from libs.common.messaging.failures import Failures
from libs.common.messaging.handlers import HandlerGroup, Message, UnreadableMessage, read
from libs.common.messaging.replay_follower import ReplayFollower
from libs.common.messaging.spans import batch_span, process_span
from libs.common.persistence.outage import is_lost_race, is_outage
from libs.common.persistence.unit_of_work import UnitOfWork, UnitsOfWork
from libs.common.stopping import Stopping
from libs.common.telemetry import metrics

log = logging.getLogger(__name__)

U = TypeVar("U", bound=UnitOfWork)

BATCH_MAX = 500
POLL_S = 1.0
RETRY_LOOK_S = 1.0
OUTAGE_PAUSE_MAX_S = 5.0
RACES_MAX = 20
BREATH_S = 0.005


class Consumer(Generic[U]):
    """Applies what its group hears, many messages in one transaction.

    A batch that fails is tried by halves until the guilty message stands alone; that one is kept among the
    failures, to be tried again later, and its neighbours go on. A lost race repeats the whole. An outage is
    nobody's fault and is waited out, however long it takes.
    """

    def __init__(
        self,
        *,
        service: str,
        group: HandlerGroup[U],
        bus: Bus,
        units: UnitsOfWork[U],
        member: str,
        wake: Sequence[Alarm] = (),
        batch_max: int = BATCH_MAX,
        stopping: Stopping | None = None,
    ) -> None:
        self._service, self._group, self._bus, self._units = service, group, bus, units
        self._member, self._wake, self._batch_max = member, wake, batch_max
        self._stopping = stopping or Stopping()
        self.failures = Failures(units, group.name)

    async def run(self) -> None:
        """Consume until told to stop: the batch in hand is finished and acknowledged, then the group is left."""
        pause_s = 0.1
        while not self._stopping.is_set():
            try:
                async with self._bus.subscribe(
                    self._group.name, self._group.topics, member=self._member
                ) as subscription:
                    replays = ReplayFollower(group=self._group.name, bus=self._bus, units=self._units)
                    while not self._stopping.is_set():
                        await replays.look(subscription)
                        await replays.note(await self._step(subscription))
                        pause_s = 0.1
            except Exception as error:
                if not is_outage(error):
                    log.exception("consumer stumbled", extra={"group": self._group.name})
                pause_s = min(pause_s * 2, OUTAGE_PAUSE_MAX_S)
                await self._stopping.pause(pause_s)

    async def _step(self, subscription: Subscription) -> Sequence[Delivery]:
        """What was handled and acknowledged."""
        deliveries = await subscription.poll(records_max=self._batch_max, timeout_s=POLL_S)
        # What is delivered after the word to stop is not begun: it comes again, to whoever is next.
        if not deliveries or self._stopping.is_set() or not await self._until_over(subscription, deliveries):
            return ()
        await subscription.acknowledge(deliveries)
        for alarm in self._wake:
            alarm.ring()
        return deliveries

    async def _until_over(self, subscription: Subscription, deliveries: Sequence[Delivery]) -> bool:
        """Whether it was applied: an outage that lasts when the word to stop comes is not waited out."""
        pause_s = 0.1
        while True:
            try:
                await self.apply(deliveries)
                return True
            except Exception as error:
                if not is_outage(error):
                    raise
                log.warning("outage: waiting", extra={"group": self._group.name, "error": repr(error)[:300]})
                await subscription.keep_alive()
                await self._stopping.pause(pause_s)
                if self._stopping.is_set():
                    return False
                pause_s = min(pause_s * 2, OUTAGE_PAUSE_MAX_S)

    async def run_retries(self) -> None:
        """Try failed messages again when their pause is over, until told to stop."""
        while not self._stopping.is_set():
            try:
                await self.retry_due()
                metrics.dead_letters(self._service, await self.failures.count_dead())
            except Exception as error:
                if not is_outage(error):
                    log.exception("retry stumbled", extra={"group": self._group.name})
            await self._stopping.pause(RETRY_LOOK_S)

    async def retry_due(self) -> int:
        """Try all failed messages whose pause is over, one by one; returns how many. Raises: what is an outage."""
        count = 0
        while not self._stopping.is_set() and (delivery := await self.failures.next_due()) is not None:
            await self._retry(delivery)
            count += 1
            for alarm in self._wake:
                alarm.ring()
        return count

    async def _retry(self, delivery: Delivery) -> None:
        error = await self._try_again(delivery)
        if error is not None:
            dead = await self.failures.put(delivery, error)
            self._tell_failure(delivery, error, dead=dead)

    async def _try_again(self, delivery: Delivery) -> Exception | None:
        try:
            message = read(delivery, self._group)
        except UnreadableMessage as error:
            return error
        # By now the group may have ceased to listen to it: then there is only the failure to forget.
        messages = [] if message.event is None else [message]
        return await self._try_together(messages, resolves=delivery)

    async def apply(self, deliveries: Sequence[Delivery]) -> None:
        """Handle the messages, each exactly once; those that cannot be handled are put among the failures.

        Raises: only what is an outage.
        """
        messages: list[Message] = []
        for delivery in deliveries:
            try:
                message = read(delivery, self._group)
            except UnreadableMessage as error:
                await self._keep(delivery, error)
                continue
            if message.event is not None:
                messages.append(message)
        await self._apply_by_halves(messages)

    async def _apply_by_halves(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        error = await self._try_together(messages)
        if error is None:
            return
        if len(messages) == 1:
            await self._keep(messages[0].delivery, error)
            return
        middle = len(messages) // 2
        await self._apply_by_halves(messages[:middle])
        await self._apply_by_halves(messages[middle:])

    async def _try_together(
        self, messages: Sequence[Message], *, resolves: Delivery | None = None
    ) -> Exception | None:
        """What went wrong, if anything. It is returned, so that what goes wrong next is not taken for its sequel."""
        try:
            await self._apply_together(messages, resolves=resolves)
        except Exception as error:
            if is_outage(error):
                raise
            return error
        return None

    async def _keep(self, delivery: Delivery, error: Exception) -> None:
        await self.failures.keep(delivery, error)
        self._tell_failure(delivery, error)

    def _tell_failure(self, delivery: Delivery, error: Exception, *, dead: bool = False) -> None:
        event_type = delivery.headers.get("ce_type", "")
        log.log(
            logging.ERROR if dead else logging.WARNING,
            "message given up" if dead else "message failed",
            extra={
                "group": self._group.name,
                "message_id": delivery.headers.get("ce_id"),
                "event_type": event_type,
            },
            exc_info=error,
        )
        metrics.failed(self._service, event_type if event_type in EVENTS else "unknown")

    async def _apply_together(self, messages: Sequence[Message], *, resolves: Delivery | None = None) -> None:
        for attempt in range(RACES_MAX):
            try:
                with (
                    metrics.consumer_batch(self._service, self._group.name),
                    batch_span(self._group.name, [(m.delivery, m.envelope) for m in messages]),
                ):
                    async with self._units.open_for_many() as uow:
                        handled = await self._handle(messages, uow, even_if_kept=resolves is not None)
                        if resolves is not None:
                            await self.failures.resolve(uow, resolves)
                metrics.consumed(self._service, [m.envelope.type for m in handled])
                return
            except Exception as error:
                if not is_lost_race(error) or attempt == RACES_MAX - 1:
                    raise
                await asyncio.sleep(0.01 * (attempt + 1))

    async def _handle(self, messages: Sequence[Message], uow: U, *, even_if_kept: bool) -> list[Message]:
        """In tenant order; within a tenant in the order of delivery, which is the order of each key.

        Returns those that were new.
        """
        await uow.become("", self._group.name)
        new = await inbox.claim(
            uow.connection,
            uow.machinery.inbox,
            handler=self._group.name,
            message_ids=[message.envelope.id for message in messages],
            even_if_kept=even_if_kept,
        )
        by_tenant: dict[str, list[Message]] = defaultdict(list)
        for message in messages:
            if message.envelope.id in new:
                new.discard(message.envelope.id)  # the same message may stand twice in one poll
                by_tenant[message.envelope.tenant].append(message)
        handled: list[Message] = []
        clock = asyncio.get_running_loop().time
        breathed_at = clock()
        for tenant in sorted(by_tenant):
            await uow.become(tenant, f"event:{self._group.name}")
            await self._group.prepare([_event_of(message) for message in by_tenant[tenant]], uow)
            for message in by_tenant[tenant]:
                event = _event_of(message)
                uow.actor = f"event:{message.envelope.id}"
                with process_span(self._group.name, message.delivery, message.envelope):
                    await self._group.handle[type(event)](event, uow)
                if clock() - breathed_at > BREATH_S:
                    await asyncio.sleep(
                        0
                    )  # a long batch whose handlers find all at hand must not hold the loop
                    breathed_at = clock()
            handled += by_tenant[tenant]
        await uow.flush()
        return handled


def _event_of(message: Message) -> Event:
    assert message.event is not None, "what the group does not listen to was left out"
    return message.event

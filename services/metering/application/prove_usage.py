"""What stands for the events behind a window's totals, and what shows that one event is among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from libs.common.errors import Conflict, NotFound
from libs.common.merkle import root_of
from libs.common.paging import PageRequest, Position
from services.metering.application.ports import UnitOfWork
from services.metering.application.queries import UsageQuestionUnclear, get_usage_window
from services.metering.application.reads import MeasuredEvent, Whose
from services.metering.domain.level_steps import days_of
from services.metering.domain.levels import PER_US
from services.metering.domain.meter import Meter
from services.metering.domain.metered_item import Span
from services.metering.domain.usage_event import MICROSECOND, event_key
from services.metering.domain.usage_seal import (
    CHUNK_LEAVES,
    Leaf,
    LeafPlace,
    UsageDigest,
    chunk_holding,
    hash_of,
    leaf_of,
    path_through,
)
from services.metering.domain.usage_window import UsageWindow


class UsageNotSealed(Conflict):
    code: ClassVar[str] = "usage_not_sealed"
    title: ClassVar[str] = "The events of the window are not sealed"


class EventNotBehindTotal(NotFound):
    code: ClassVar[str] = "event_not_behind_total"
    title: ClassVar[str] = "The event is not behind this total"


@dataclass(frozen=True, slots=True)
class SealedWindow:
    """A window and the digests of one of its seals, the newest of its revision; none where it is not sealed yet.

    `meters` are the newest versions of the meters, by code.
    """

    window: UsageWindow
    zone: str
    digests: Sequence[UsageDigest]
    meters: dict[str, Meter]

    def divisor(self, code: str) -> int | None:
        """By what the integral of a level was divided: microseconds, or local days of a meter that weighs by day."""
        meter = self.meters.get(code)
        if meter is None or meter.aggregation != "time_weighted":
            return None
        start, end = self.window.window_start, self.window.window_end
        if meter.options.by_day:
            return days_of(start, end, self.zone) or 1
        per = meter.options.per
        assert per is not None, "a level is integrated by something"
        return (end - start) // MICROSECOND if per == "window" else PER_US[per]


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """The leaf stands at `index` of the tree whose root is the digest's: `path` leads there, lowest first."""

    digest: UsageDigest
    index: int
    leaf: Leaf
    leaf_hash: bytes
    path: Sequence[bytes]


async def find_sealed(
    window_id: str, revision: int | None, *, of: str | None, uow: UnitOfWork
) -> SealedWindow:
    """By default the newest seal. Raises: UsageWindowNotFound, also when it is not customer `of`'s."""
    window = await get_usage_window(window_id, of=of, uow=uow)
    digests = await uow.seals.of_window(window_id, revision)
    meters = {}
    for code in {digest.meter for digest in digests}:
        versions = await uow.reads.list_meter_versions(code)
        if versions:
            meters[code] = versions[-1]
    return SealedWindow(window, await _zone(window, uow), digests, meters)


async def prove_inclusion(
    window_id: str,
    *,
    source: str,
    event_id: str,
    item_id: str | None,
    price_id: str | None,
    of: str | None,
    uow: UnitOfWork,
) -> InclusionProof:
    """That the event counts in a total, as the newest seal has it.

    Raises: UsageWindowNotFound, UsageNotSealed, UsageQuestionUnclear, EventNotBehindTotal, TooManySteps, RawEventsGone.
    """
    window = await get_usage_window(window_id, of=of, uow=uow)
    digest = _the_one(await uow.seals.of_window(window_id, None), item_id, price_id)
    standing = (await uow.corrections.find_standing([event_key(uow.tenant, source, event_id)])).values()
    place = next(
        (LeafPlace(s.place.occurred_at, UUID(bytes=s.place.key)) for s in standing if s.is_counted), None
    )
    number = None if place is None else chunk_holding(digest.chunks, place)
    if place is None or number is None:
        raise _not_behind()
    leaves = await _leaves(window, digest, number, uow)
    hashes = [hash_of(leaf_for(event)) for event in leaves]
    if root_of(hashes) != digest.chunks[number].root:
        raise UsageNotSealed(
            "the events behind the total are others than when it was sealed",
            remedy="Wait a moment: the window is counted and sealed again.",
        )
    for index, event in enumerate(leaves):
        if place_of(event) == place:
            return InclusionProof(
                digest=digest,
                index=number * CHUNK_LEAVES + index,
                leaf=leaf_for(event),
                leaf_hash=hashes[index],
                path=path_through(digest.chunks, number, index, hashes),
            )
    raise _not_behind()


def place_of(event: MeasuredEvent) -> LeafPlace:
    return LeafPlace(event.at, event.key)


def leaf_for(event: MeasuredEvent) -> Leaf:
    """The leaf of an event as it is shown."""
    stored, step = event.event, event.step
    return leaf_of(
        place_of(event),
        event.subject,
        source=None if stored is None else stored.source,
        event_id=None if stored is None else stored.event_id,
        event_type=None if stored is None else stored.type,
        group=event.group,
        value=event.value,
        member=event.member,
        is_in=event.is_in,
        level=None if step is None else step.level,
        seconds=None if step is None else step.seconds,
        days=None if step is None else step.days,
        contribution=None if step is None else step.contribution,
    )


def _the_one(digests: Sequence[UsageDigest], item_id: str | None, price_id: str | None) -> UsageDigest:
    if not digests:
        raise UsageNotSealed(
            "the window is not sealed yet", remedy="Ask again a moment after it has closed, or was corrected."
        )
    found = [
        digest
        for digest in digests
        if item_id in (None, digest.item_id) and price_id in (None, digest.price_id)
    ]
    if len(found) > 1:
        raise UsageQuestionUnclear("the window has several totals: name one by item_id, and by price_id")
    if not found:
        raise _not_behind()
    return found[0]


def _not_behind() -> EventNotBehindTotal:
    return EventNotBehindTotal("the event does not count in this total of the window")


async def _leaves(
    window: UsageWindow, digest: UsageDigest, number: int, uow: UnitOfWork
) -> Sequence[MeasuredEvent]:
    """Those of one chunk, as they are now."""
    spans = [
        Span(span.start, span.end)
        for span in window.spans()
        if (window.items[span.place].item_id, window.items[span.place].price_id)
        == (digest.item_id, digest.price_id)
    ]
    whose = Whose(
        start=window.window_start,
        end=window.window_end,
        zone=await _zone(window, uow),
        item_ids=[digest.item_id],
        spans=spans,
    )
    versions = await uow.reads.list_meter_versions(digest.meter)
    first = digest.chunks[number].first
    if first.key.int:
        before = Position(first.at, str(UUID(int=first.key.int - 1)))
    else:
        before = Position(first.at - timedelta(microseconds=1), str(UUID(int=2**128 - 1)))
    limit = min(CHUNK_LEAVES, digest.leaf_count - number * CHUNK_LEAVES)
    if not spans or not versions:
        return ()
    return (
        await uow.reads.list_measured_events(versions, whose, PageRequest(limit=limit, after=before))
    ).items


async def _zone(window: UsageWindow, uow: UnitOfWork) -> str:
    rules = await uow.subscriptions.late_usage_rules([window.subscription_id])
    return rules[window.subscription_id].zone if rules else "UTC"

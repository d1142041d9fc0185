"""Closed windows → what pins the events behind their totals: a digest for each, said once for each revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from libs.common.telemetry.spans import span
from services.metering.application import events
from services.metering.application.ports import UnitOfWork
from services.metering.domain.usage_seal import LeafTree, UsageDigest
from services.metering.domain.usage_window import UsageTotal, UsageWindow, is_used

EVENTS_MAX = 100_000  # that are read in one transaction, unless one window has more


@dataclass(frozen=True, slots=True)
class SealUsageWindows:
    """Notes that windows of one tenant are to be sealed, with their business now. `system_now` is the wall's."""

    now_by_id: Mapping[str, datetime]
    system_now: datetime


async def seal_usage_windows(command: SealUsageWindows, *, uow: UnitOfWork) -> None:
    """Read the events behind the totals of each window, and keep and say what stands for them.

    Nothing is locked but the notes: whoever closes, corrects or stores goes on. What changes meanwhile leaves a note of
    its own, and what was read is then thrown away. A window of which late usage is noted is sealed after its correction,
    which notes it again. Of windows with many events, as many are done as have a hundred thousand together, one at
    least; the notes of the others stay. Twice at once is harmless: of two that seal alike the second finds it done.
    Emits: UsageWindowSealed, unless nothing has changed since the last seal.
    """
    noted = await uow.seals.noted(list(command.now_by_id))
    settled = await uow.seals.find_settled(set(noted.values()))
    chosen = _as_many_as_fit(settled)
    trees = await _trees(list(chosen.values()), uow)
    known = await uow.seals.newest(chosen)
    still = await uow.seals.find_settled(chosen, noted_only_by=list(noted))
    done = {id for id in noted.values() if id not in settled}
    now_by_window = {noted[note]: now for note, now in command.now_by_id.items() if note in noted}
    added: list[UsageDigest] = []
    for id in sorted(chosen):
        window = chosen[id]
        if id not in still or still[id].revision != window.revision:
            continue  # its notes stay, and it is read again
        done.add(id)
        before = known.get(id, ())
        digests = _digests(window, trees, seal=1 + max((digest.seal for digest in before), default=0))
        if not digests or {digest.told for digest in digests} == {digest.told for digest in before}:
            continue
        added += digests
        with span("seal usage window", parent=window.traceparent):
            event = events.for_sealed(window, digests, tenant=uow.tenant, now=now_by_window[id])
            uow.outbox.append(event, key=id)
            uow.record("usage_window.sealed", id, digests[0].seal)
    await uow.seals.add(added, sealed_at=command.system_now)
    await uow.seals.remove([note for note, id in noted.items() if id in done])


def _as_many_as_fit(windows: Mapping[str, UsageWindow]) -> Mapping[str, UsageWindow]:
    chosen: dict[str, UsageWindow] = {}
    event_count = 0
    for id in sorted(windows):
        event_count += sum(total.event_count for total in windows[id].totals)
        if chosen and event_count > EVENTS_MAX:
            break
        chosen[id] = windows[id]
    return chosen


async def _trees(windows: Sequence[UsageWindow], uow: UnitOfWork) -> Mapping[tuple[str, int], LeafTree]:
    """Those of totals of which there is anything to be read."""
    used = [
        (window, place)
        for window in windows
        for place in range(len(window.measured_items))
        if is_used(_total(window, place))
    ]
    if not used:
        return {}
    rules = await uow.subscriptions.late_usage_rules({window.subscription_id for window, _ in used})
    return await uow.seals.read(used, {id: of.zone for id, of in rules.items()})


def _total(window: UsageWindow, place: int) -> UsageTotal:
    """What was said last of the item: nothing, where it was added since without usage."""
    item = window.measured_items[place]
    for total in window.totals:
        if (total.item_id, total.price_id) == (item.item_id, item.price_id):
            return total
    return UsageTotal(item.item_id, item.meter, Decimal(0), 0, item.price_id)


def _digests(
    window: UsageWindow, trees: Mapping[tuple[str, int], LeafTree], *, seal: int
) -> list[UsageDigest]:
    found = []
    for place in range(len(window.measured_items)):
        total = _total(window, place)
        root, leaf_count, chunks = LeafTree().finished()
        if is_used(total):
            tree = trees.get((window.id, place))
            if tree is None:
                continue  # its events are kept no longer
            root, leaf_count, chunks = tree.finished()
        found.append(
            UsageDigest(
                window_id=window.id,
                seal=seal,
                revision=window.revision,
                item_id=total.item_id,
                price_id=total.price_id,
                meter=total.meter,
                quantity=total.quantity,
                event_count=total.event_count,
                leaf_count=leaf_count,
                root=root,
                chunks=chunks,
            )
        )
    return found

"""Windows whose grace is over: wait until all that was said before is known, then say what was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.telemetry.spans import span
from services.metering.application import events
from services.metering.application.ports import UnitOfWork
from services.metering.domain.usage_window import (
    Offsets,
    UsageWindow,
    await_offsets,
    close,
    may_close,
    note_due,
)


@dataclass(frozen=True, slots=True)
class CloseUsageWindows:
    """Due windows of one tenant with their business now. `ends` and `handled` tell of the bindings' topic.

    `usage_ends` are the ends of the usage topic. All were read before the windows were claimed, so that no lock
    waits for the bus.
    """

    now_by_id: Mapping[str, datetime]
    ends: Offsets
    handled: Offsets
    usage_ends: Offsets


async def close_usage_windows(command: CloseUsageWindows, *, uow: UnitOfWork) -> int:
    """Move each window as far as it can go; returns how many moved.

    An open one becomes due, and that must be committed before anything else: from then on whoever stores usage
    of it also asks for a recount. On the next turn the ends of the topics of bindings and of usage are noted.
    Once everything before them has been handled, and nobody is still storing who began before the window was due,
    its totals are everything that there is, and it closes. Twice at once is harmless: the second finds it closed.
    Emits: UsageWindowClosed, in the trace of the renewal that the window serves.
    """
    await uow.windows.load_for_update(command.now_by_id)
    usage_stored = await uow.offsets.stored()
    ready: list[UsageWindow] = []
    moved = 0
    for id in sorted(command.now_by_id):
        window = await uow.windows.find_for_update(id)
        if window is None or window.state == "closed":
            continue
        if window.state == "open":
            uow.windows.save(note_due(window))
            moved += 1
            continue
        if window.awaited is None:
            window = await_offsets(window, command.ends, command.usage_ends)
            uow.windows.save(window)
            moved += 1
        if may_close(window, command.handled, usage_stored):
            ready.append(window)
    if not ready or await uow.count_pending_messages():
        return moved
    await uow.usage.wait_for_writers()
    await _close(ready, command, uow)
    return max(moved, len(ready))


async def _close(windows: Sequence[UsageWindow], command: CloseUsageWindows, uow: UnitOfWork) -> None:
    totals = await uow.usage.sum_windows(windows)
    for window in windows:
        now = command.now_by_id[window.id]
        closed = close(window, totals[window.id], now)
        uow.windows.save(closed)
        with span("close usage window", parent=closed.traceparent):
            uow.outbox.append(events.for_closed(closed, tenant=uow.tenant, now=now), key=closed.id)
            uow.record("usage_window.closed", closed.id)

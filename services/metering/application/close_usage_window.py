"""Windows whose grace is over: wait until all that was said before is known, then say what was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.telemetry.spans import span
from services.metering.application import events
from services.metering.application.estimate_readings import estimate_readings
from services.metering.application.ports import UnitOfWork
from services.metering.domain.usage_window import (
    Offsets,
    UsageWindow,
    await_offsets,
    close,
    note_due,
    obstacles,
)


@dataclass(frozen=True, slots=True)
class CloseUsageWindows:
    """Due windows of one tenant with their business now. `ends` and `handled` tell of the bindings' topic.

    `usage_ends` are the ends of the usage topic. All were read before the windows were claimed, so that no lock
    waits for the bus. `system_now` is the wall's, for what is made on the way.
    """

    now_by_id: Mapping[str, datetime]
    ends: Offsets
    handled: Offsets
    usage_ends: Offsets
    system_now: datetime


async def close_usage_windows(command: CloseUsageWindows, *, uow: UnitOfWork) -> int:
    """Move each window as far as it can go; returns how many moved.

    An open one becomes due, and that must be committed before anything else: from then on whoever stores usage
    of it also asks for a recount. On the next turn the ends of the topics of bindings and of usage are noted.
    Once everything before them has been handled, nobody is still storing who began before the window was due, and each
    of its meters has been filled, its totals are everything that there is, and it closes. Twice at once is harmless:
    the second finds it closed. Counters that nobody has read are estimated before.
    Emits: UsageWindowClosed, in the trace of the renewal that the window serves; MeterReadingHeld for readings that are
    needed.
    """
    await uow.windows.load_for_update(command.now_by_id)
    usage_stored = await uow.offsets.stored()
    due: list[UsageWindow] = []
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
        due.append(window)
    if not due:
        return moved
    ready = await _without_obstacles(due, usage_stored, command, uow)
    if not ready:
        return moved
    await uow.usage.wait_for_writers()
    await _close(ready, command, uow)
    return max(moved, len(ready))


async def _without_obstacles(
    windows: Sequence[UsageWindow], usage_stored: Offsets, command: CloseUsageWindows, uow: UnitOfWork
) -> list[UsageWindow]:
    """Those that may close. Of the others it is kept what they wait for, once for each time that it changes."""
    are_retried = bool(await uow.count_pending_messages())
    filling = await uow.meters.find_filling({item.meter for window in windows for item in window.items})
    ready: list[UsageWindow] = []
    for window in windows:
        held_by = obstacles(
            window,
            handled=command.handled,
            usage_stored=usage_stored,
            are_retried=are_retried,
            filling=filling,
        )
        if not held_by:
            ready.append(window)
        elif held_by != window.held_by:
            uow.windows.save(replace(window, held_by=held_by))
    return ready


async def _close(windows: Sequence[UsageWindow], command: CloseUsageWindows, uow: UnitOfWork) -> None:
    await estimate_readings(windows, uow=uow, now=command.system_now)
    totals = await uow.usage.sum_windows(windows)
    for window in windows:
        now = command.now_by_id[window.id]
        closed = close(window, totals[window.id], now)
        uow.windows.save(closed)
        uow.seals.note(closed)
        with span("close usage window", parent=closed.traceparent):
            uow.outbox.append(events.for_closed(closed, tenant=uow.tenant, now=now), key=closed.id)
            uow.record("usage_window.closed", closed.id)

"""Usage that changed after its window closed: count again, and say so if the totals differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from libs.common.clock import Clock
from libs.common.telemetry.spans import span
from services.metering.application import events
from services.metering.application.ports import LateNote, LateUsageRules, UnitOfWork
from services.metering.domain.late_usage import (
    DEFAULT_TERMS,
    NO_EVENTS,
    ChangedEvents,
    WindowCorrection,
    correction_of,
)
from services.metering.domain.recount_refusal import RecountRefusal
from services.metering.domain.usage_retention import RawEventsGone
from services.metering.domain.usage_window import UsageTotal, UsageWindow, correct

FILLING_REST = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class CorrectUsage:
    """Notes of late usage of one tenant, with the business now of their windows."""

    now_by_id: Mapping[str, datetime]


async def correct_usage(command: CorrectUsage, *, uow: UnitOfWork, clock: Clock) -> int:
    """Count the windows again, each once however many notes there are; returns how many differed.

    All notes of a window are answered together, so that its correction names the events of all of them. A window that
    is due and not closed yet will see the late usage when it closes: its row is locked here, so whoever closes it
    comes after. While a meter of a window is being filled, its notes rest. A note is removed with the answer to it, in
    one transaction, and the window is to be sealed again: other events may come to the same totals. A window that would
    have to be counted from events that are no longer kept stays as it was said, and says so until a person sees to it.
    Emits: UsageCorrected for each window whose totals are no longer those that were said last.
    """
    notes = _by_window(await uow.late.load(list(command.now_by_id)))
    await uow.windows.load_for_update(notes)
    # Read again now that the windows are ours: what was noted while we waited is counted below, hence named.
    notes = _by_window(await uow.late.load(list(command.now_by_id)))
    found = [await uow.windows.find_for_update(id) for id in sorted(notes)]
    closed = [window for window in found if window is not None and window.state == "closed"]
    filling = await uow.meters.find_filling({item.meter for window in closed for item in window.items})
    ready = [window for window in closed if not _measures(window, filling)]
    waiting = [note.id for window in closed if _measures(window, filling) for note in notes[window.id]]
    now_by_window = {
        note.window_id: command.now_by_id[note.id] for note in _all(notes) if note.id in command.now_by_id
    }
    totals, gone = await uow.usage.sum_windows_kept(ready) if ready else ({}, {})
    for window in ready:
        _tell_refusal(window, gone.get(window.id), uow, clock)
    ready = [window for window in ready if window.id in totals]
    corrected = await _corrections(ready, totals, notes, now_by_window, uow)
    for window in ready:
        uow.seals.note(window)
    for window, correction in corrected:
        uow.windows.save(window)
        uow.window_corrections.add(correction)
        with span("correct usage window", parent=window.traceparent):
            event = events.for_corrected(correction, window, tenant=uow.tenant)
            uow.outbox.append(event, key=window.id)
            uow.record("usage.corrected", window.id, window.revision)
    if waiting:
        await uow.late.put_off(waiting, clock.system_now() + FILLING_REST)
    await uow.late.remove([note.id for note in _all(notes) if note.id not in waiting])
    return len(corrected)


def _tell_refusal(window: UsageWindow, refused: RawEventsGone | None, uow: UnitOfWork, clock: Clock) -> None:
    """Trying it again would come to the same: what was dropped does not come back."""
    if refused is not None:
        refusal = RecountRefusal(refused.message, clock.system_now())
        uow.windows.save(replace(window, recount_refusal=refusal))
        uow.record("usage_window.recount_refused", window.id, window.revision)
    elif window.recount_refusal is not None:
        uow.windows.save(replace(window, recount_refusal=None))


async def _corrections(
    windows: Sequence[UsageWindow],
    totals: Mapping[str, Sequence[UsageTotal]],
    notes: Mapping[str, Sequence[LateNote]],
    now_by_window: Mapping[str, datetime],
    uow: UnitOfWork,
) -> list[tuple[UsageWindow, WindowCorrection]]:
    changed = [
        (before, replace(after, recount_refusal=None))
        for before in windows
        if (after := correct(before, totals[before.id])) is not None
    ]
    if not changed:
        return []
    changes = await uow.late.events_of([after.id for _, after in changed])
    rules = await uow.subscriptions.late_usage_rules({after.subscription_id for _, after in changed})
    return [
        (
            after,
            explain_correction(
                before,
                after,
                rules=rules,
                changed=changes.get(after.id, NO_EVENTS),
                noted_at=min(note.noted_at for note in notes[after.id]),
                now=now_by_window[after.id],
                tenant=uow.tenant,
            ),
        )
        for before, after in changed
    ]


def explain_correction(
    before: UsageWindow,
    after: UsageWindow,
    *,
    rules: Mapping[str, LateUsageRules],
    changed: ChangedEvents,
    noted_at: datetime,
    now: datetime,
    tenant: str,
) -> WindowCorrection:
    """By the terms of the plan that the subscription has by now. Of one that is not known, nothing is held back."""
    terms, zone = rules.get(after.subscription_id, LateUsageRules(DEFAULT_TERMS, "UTC"))
    return correction_of(
        before,
        after,
        tenant=tenant,
        events=changed,
        terms=terms,
        zone=zone,
        noted_at=noted_at,
        corrected_at=now,
    )


def _by_window(notes: Iterable[LateNote]) -> dict[str, list[LateNote]]:
    found: dict[str, list[LateNote]] = defaultdict(list)
    for note in notes:
        found[note.window_id].append(note)
    return found


def _all(notes: Mapping[str, Sequence[LateNote]]) -> list[LateNote]:
    return [note for of_window in notes.values() for note in of_window]


def _measures(window: UsageWindow, meters: Collection[str]) -> bool:
    return any(item.meter in meters for item in window.measured_items)

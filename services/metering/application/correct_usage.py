"""Usage that came after its window closed: count again, and say so if the totals differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from libs.common.telemetry.spans import span
from services.metering.application import events
from services.metering.application.ports import UnitOfWork
from services.metering.domain.usage_window import correct


@dataclass(frozen=True, slots=True)
class CorrectUsage:
    """Notes of late usage of one tenant, with the business now of their windows."""

    now_by_id: Mapping[str, datetime]


async def correct_usage(command: CorrectUsage, *, uow: UnitOfWork) -> int:
    """Count the windows again, each once however many notes there are; returns how many differed.

    A window that is due and not closed yet will see the late usage when it closes: its row is locked here, so
    whoever closes it comes after. A note is removed with the answer to it, in one transaction.
    Emits: UsageCorrected for each window whose totals are no longer those that were said last.
    """
    notes = await uow.late.load(list(command.now_by_id))
    now_by_window = {note.window_id: command.now_by_id[note.id] for note in notes}
    await uow.windows.load_for_update(now_by_window)
    found = [await uow.windows.find_for_update(id) for id in sorted(now_by_window)]
    closed = [window for window in found if window is not None and window.state == "closed"]
    totals = await uow.usage.sum_windows(closed) if closed else {}
    corrected_count = 0
    for window in closed:
        corrected = correct(window, totals[window.id])
        if corrected is None:
            continue
        corrected_count += 1
        uow.windows.save(corrected)
        now = now_by_window[window.id]
        with span("correct usage window", parent=corrected.traceparent):
            event = events.for_corrected(corrected, window.totals, tenant=uow.tenant, now=now)
            uow.outbox.append(event, key=corrected.id)
            uow.record("usage.corrected", corrected.id, corrected.revision)
    await uow.late.remove([note.id for note in notes])
    return corrected_count

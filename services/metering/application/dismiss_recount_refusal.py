"""A person has seen to a window that could not be counted again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import Conflict
from services.metering.application.ports import UnitOfWork
from services.metering.application.queries import UsageWindowNotFound
from services.metering.domain.recount_refusal import dismissed
from services.metering.domain.usage_window import UsageWindow


class NothingRefused(Conflict):
    code: ClassVar[str] = "no_recount_refused"
    title: ClassVar[str] = "The window has no recount that was refused"


@dataclass(frozen=True, slots=True)
class DismissRecountRefusal:
    window_id: str
    reason: str
    author: str


async def dismiss_recount_refusal(
    command: DismissRecountRefusal, *, uow: UnitOfWork, clock: Clock
) -> UsageWindow:
    """What was refused stays with the window, with the reason, and no longer alerts.

    Raises: UsageWindowNotFound, NothingRefused, for one that was dismissed before too.
    """
    await uow.windows.load_for_update([command.window_id])
    window = await uow.windows.find_for_update(command.window_id)
    if window is None:
        raise UsageWindowNotFound("no usage window has this id", usage_window_id=command.window_id)
    refusal = window.recount_refusal
    if refusal is None or not refusal.is_open:
        raise NothingRefused(
            "nothing about the window waits for a person",
            remedy="Look at recount_refusal of the window.",
            usage_window_id=window.id,
        )
    settled = dismissed(refusal, reason=command.reason, author=command.author, now=clock.system_now())
    window = replace(window, recount_refusal=settled)
    uow.windows.save(window)
    uow.record("usage_window.refusal_dismissed", window.id, window.revision)
    return window

"""Usage that came after its window had closed: kept beside what was billed, which stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing.application.ports import UnitOfWork
from services.billing.domain.charge import UsageCorrection


@dataclass(frozen=True, slots=True)
class CorrectUsage:
    correction: UsageCorrection


async def correct_usage(command: CorrectUsage, *, uow: UnitOfWork) -> None:
    """Keep the newest correction of each window, also when it is told of before the window itself.

    Nothing is billed for it yet: the audit names the difference.
    """
    uow.usage_windows.keep_newest_correction(command.correction)

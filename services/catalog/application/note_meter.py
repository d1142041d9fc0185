"""The catalog hears of a meter, so that usage prices can name it."""

from __future__ import annotations

from dataclasses import dataclass

from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.known_meter import KnownMeter


@dataclass(frozen=True, slots=True)
class NoteMeter:
    meter: KnownMeter


async def note_meter(command: NoteMeter, *, uow: UnitOfWork) -> None:
    """Keep the newest version of the meter; an older message that comes late changes nothing."""
    await uow.known_meters.put(command.meter)

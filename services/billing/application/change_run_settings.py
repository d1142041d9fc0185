"""How a tenant wants its billing runs: when they wait for a person, and whether boundaries wait for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from services.billing.application.ports import UnitOfWork
from services.billing.domain.billing_run import RunSettings


@dataclass(frozen=True, slots=True)
class ChangeRunSettings:
    run_limit_multiple: Decimal | None
    requires_run: bool
    gathering_hours: int


async def change_run_settings(
    command: ChangeRunSettings, *, uow: UnitOfWork, check_version: Callable[[int | None], None]
) -> RunSettings:
    """From now on. What waits for a run already goes on waiting for one. Raises: what `check_version` raises."""
    settings = await uow.billing_runs.settings(for_update=True)
    check_version(settings.version)
    settings = replace(
        settings,
        run_limit_multiple=command.run_limit_multiple,
        requires_run=command.requires_run,
        gathering_hours=command.gathering_hours,
        version=settings.version + 1,
    )
    uow.billing_runs.keep_settings(settings)
    uow.record("billing_run_settings.changed", uow.tenant, settings.version)
    return settings

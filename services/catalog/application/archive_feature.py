"""A tenant stops granting a feature: no new draft may name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.feature import Feature, archive


@dataclass(frozen=True, slots=True)
class ArchiveFeature:
    feature_id: str


async def archive_feature(
    command: ArchiveFeature, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Feature:
    """Archive it; published plans go on granting it. Archiving twice is harmless.

    Emits: FeatureChanged.
    Raises: FeatureNotFound, and what `check_version` raises for the version that was locked.
    """
    feature = await uow.features.get_for_update(command.feature_id)
    check_version(feature.version)
    now = clock.system_now()
    archived = archive(feature, now)
    if archived is not feature:
        uow.features.save(archived)
        uow.record("feature.archived", archived.id, archived.version)
        uow.outbox.append(events.feature_changed(archived, tenant=uow.tenant, now=now), key=archived.id)
    return archived

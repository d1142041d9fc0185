"""A tenant changes what may change of a feature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.feature import Feature, FeatureDetails, change_details


@dataclass(frozen=True, slots=True)
class ChangeFeature:
    """`change` makes the new details from those that are locked, so that what is not named stays."""

    feature_id: str
    change: Callable[[FeatureDetails], FeatureDetails]


async def change_feature(
    command: ChangeFeature, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Feature:
    """Change it. The same details again change nothing and say nothing.

    Emits: FeatureChanged.
    Raises: FeatureNotFound, FeatureArchived, FeatureInvalid, and what `check_version` raises for the version that
    was locked.
    """
    feature = await uow.features.get_for_update(command.feature_id)
    check_version(feature.version)
    changed = change_details(feature, command.change(feature.details))
    if changed is not feature:
        uow.features.save(changed)
        uow.record("feature.changed", changed.id, changed.version)
        event = events.feature_changed(changed, tenant=uow.tenant, now=clock.system_now())
        uow.outbox.append(event, key=changed.id)
    return changed

"""A tenant makes a feature: something that plans let a customer do."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.feature import Feature, FeatureDetails, FeatureKind, check_feature


@dataclass(frozen=True, slots=True)
class CreateFeature:
    code: str
    kind: FeatureKind
    meter: str | None
    details: FeatureDetails


async def create_feature(command: CreateFeature, *, uow: UnitOfWork, clock: Clock) -> Feature:
    """Make it. Plans may grant it from now on.

    Emits: FeatureChanged.
    Raises: FeatureInvalid, FeatureMeterUnknown; FeatureCodeTaken, when the unit of work is flushed.
    """
    now = clock.system_now()
    feature = Feature(
        id=new_id("ftr", now),
        code=command.code,
        kind=command.kind,
        meter=command.meter,
        details=command.details,
        version=1,
        created_at=now,
    )
    named = {command.meter} if command.meter is not None else set()
    check_feature(feature, meters=await uow.known_meters.find_known(named) if named else frozenset())
    uow.features.add(feature)
    uow.record("feature.created", feature.id)
    uow.outbox.append(events.feature_changed(feature, tenant=uow.tenant, now=now), key=feature.id)
    return feature

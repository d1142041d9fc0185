"""Making, changing and archiving features."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.common.contracts.catalog import FeatureChangedV1
from libs.common.errors import PreconditionFailed
from services.catalog.application.archive_feature import ArchiveFeature, archive_feature
from services.catalog.application.change_feature import ChangeFeature, change_feature
from services.catalog.application.create_feature import CreateFeature, create_feature
from services.catalog.domain.feature import FeatureDetails, FeatureMeterUnknown, FeatureNotFound
from tests.support.catalog import MemoryCatalog
from tests.support.clocks import FixedClock
from tests.support.coupons import a_feature
from tests.support.memory import Appended, Recorded
from tests.support.versions import OnlyVersion, any_version

DETAILS = FeatureDetails(name="Minutes", unit="minute", description="", metadata={})


async def test_a_feature_is_made_and_told_of(uow: MemoryCatalog, clock: FixedClock) -> None:
    command = CreateFeature("minutes", "metered", "flying-minutes", DETAILS)
    feature = await create_feature(command, uow=uow, clock=clock)
    assert uow.features.by_id[feature.id] == feature
    assert uow.recorded == [Recorded("feature.created", feature.id, 1)]
    (appended,) = uow.outbox.appended
    event = appended.event
    assert isinstance(event, FeatureChangedV1)
    assert appended == Appended(event, feature.id)
    told = event.feature
    assert (told.feature_id, told.feature_version, told.code, told.kind) == (
        feature.id,
        1,
        "minutes",
        "metered",
    )
    assert (told.meter, told.unit, told.is_archived) == ("flying-minutes", "minute", False)


async def test_a_meter_must_have_been_heard_of(uow: MemoryCatalog, clock: FixedClock) -> None:
    with pytest.raises(FeatureMeterUnknown):
        await create_feature(CreateFeature("km", "metered", "km", DETAILS), uow=uow, clock=clock)
    assert uow.features.by_id == {}
    switch = CreateFeature("api", "switch", None, replace(DETAILS, unit=None))
    assert (await create_feature(switch, uow=uow, clock=clock)).meter is None


async def test_changes_are_told_and_none_is_not(uow: MemoryCatalog, clock: FixedClock) -> None:
    feature = a_feature()
    uow.features.add(feature)
    command = ChangeFeature(feature.id, lambda details: replace(details, name="Other"))
    changed = await change_feature(command, uow=uow, clock=clock, check_version=OnlyVersion(1))
    again = await change_feature(command, uow=uow, clock=clock, check_version=OnlyVersion(2))
    assert again == changed == uow.features.by_id[feature.id]
    assert [event.version for event in uow.outbox.events] == [2]
    assert uow.recorded == [Recorded("feature.changed", feature.id, 2)]


async def test_archiving_twice_archives_once(uow: MemoryCatalog, clock: FixedClock) -> None:
    feature = a_feature()
    uow.features.add(feature)
    command = ArchiveFeature(feature.id)
    archived = await archive_feature(command, uow=uow, clock=clock, check_version=any_version)
    again = await archive_feature(command, uow=uow, clock=clock, check_version=any_version)
    assert archived.archived_at == clock.now
    assert again == archived
    (event,) = uow.outbox.events
    assert isinstance(event, FeatureChangedV1)
    assert event.feature.is_archived


async def test_another_version_is_left_alone(uow: MemoryCatalog, clock: FixedClock) -> None:
    feature = a_feature()
    uow.features.add(feature)
    command = ChangeFeature(feature.id, lambda details: replace(details, name="Other"))
    with pytest.raises(PreconditionFailed):
        await change_feature(command, uow=uow, clock=clock, check_version=OnlyVersion(7))
    with pytest.raises(PreconditionFailed):
        await archive_feature(ArchiveFeature(feature.id), uow=uow, clock=clock, check_version=OnlyVersion(7))
    with pytest.raises(FeatureNotFound):
        await archive_feature(ArchiveFeature("ftr_no"), uow=uow, clock=clock, check_version=any_version)
    assert uow.features.by_id[feature.id] == feature
    assert uow.outbox.events == []

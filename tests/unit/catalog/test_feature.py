"""What a feature may be, and what of it may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.catalog.domain.feature import (
    FeatureArchived,
    FeatureInvalid,
    FeatureMeterUnknown,
    archive,
    change_details,
    check_feature,
)
from tests.support.coupons import MADE, a_feature

KNOWN = frozenset({"flying-minutes"})


def with_unit(unit: str | None, **changes: Any) -> Any:
    feature = a_feature(**changes)
    return replace(feature, details=replace(feature.details, unit=unit))


@pytest.mark.parametrize(
    "feature",
    [
        a_feature(),
        with_unit(None),
        with_unit(None, kind="switch", meter=None),
        with_unit("seat", kind="limit", meter=None),
        with_unit(None, kind="limit", meter=None),
    ],
)
def test_what_can_be_granted_is_accepted(feature: Any) -> None:
    check_feature(feature, meters=KNOWN)


@pytest.mark.parametrize(
    ("feature", "pointers"),
    [
        (a_feature(meter=None), ["/meter"]),
        (with_unit(None, kind="switch"), ["/meter"]),
        (with_unit("seat", kind="switch"), ["/meter", "/unit"]),
        (a_feature(kind="limit"), ["/meter"]),
    ],
)
def test_what_cannot_is_refused_with_every_fault(feature: Any, pointers: list[str]) -> None:
    with pytest.raises(FeatureInvalid) as refused:
        check_feature(feature, meters=KNOWN)
    assert type(refused.value) is FeatureInvalid
    assert [error["pointer"] for error in refused.value.errors] == pointers


def test_a_meter_that_was_not_heard_of_is_told_apart() -> None:
    with pytest.raises(FeatureMeterUnknown) as refused:
        check_feature(a_feature(meter="km"), meters=KNOWN)
    assert "POST /v1/meters" in refused.value.errors[0]["detail"]


def test_changing_details_counts_a_version_and_the_same_change_nothing() -> None:
    feature = a_feature()
    changed = change_details(feature, replace(feature.details, name="Washes"))
    assert (changed.details.name, changed.version, changed.meter) == ("Washes", 2, feature.meter)
    assert change_details(changed, changed.details) is changed


def test_a_change_is_checked_as_a_new_feature_is() -> None:
    switch = with_unit(None, kind="switch", meter=None)
    with pytest.raises(FeatureInvalid):
        change_details(switch, replace(switch.details, unit="seat"))


def test_an_archived_feature_changes_no_more() -> None:
    archived = archive(a_feature(), MADE)
    assert (archived.archived, archived.version) == (True, 2)
    assert archive(archived, MADE) is archived
    with pytest.raises(FeatureArchived):
        change_details(archived, replace(archived.details, name="Other"))
    assert change_details(archived, archived.details) is archived

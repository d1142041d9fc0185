"""What a newer binding changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from services.metering.domain.subject_binding import BindingChange, SubjectBinding, changes_between

JAN, FEB = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
BOUND = SubjectBinding("sbd_1", 1, "N1", "minutes", "sub_1", "si_1", JAN, None)


def test_a_new_binding_changes_its_own_extent() -> None:
    assert changes_between(None, BOUND) == [BindingChange("sub_1", JAN, None)]


def test_a_release_changes_both_extents() -> None:
    released = replace(BOUND, version=2, bound_until=FEB)
    assert changes_between(BOUND, released) == [
        BindingChange("sub_1", JAN, None),
        BindingChange("sub_1", JAN, FEB),
    ]


def test_a_newer_version_that_says_the_same_changes_nothing() -> None:
    assert changes_between(BOUND, replace(BOUND, version=2)) == []

"""Which item a subject counts for, and how a binding ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import MICROSECOND
from services.subscriptions.domain.subject_binding import (
    BindingEndsEarlier,
    BindingReversed,
    agrees,
    binding_id,
    check_bounds,
    release,
    release_at_end,
)
from tests.support.subscriptions import TENANT, a_binding, utc

JAN, FEB, MAR, APR = utc("2025-01-01"), utc("2025-02-01"), utc("2025-03-01"), utc("2025-04-01")


class Case(NamedTuple):
    name: str
    one: tuple[datetime, datetime | None]
    other: tuple[datetime, datetime | None]
    overlap: bool


CASES = [
    Case("apart", (JAN, FEB), (MAR, APR), False),
    Case("touching", (JAN, FEB), (FEB, MAR), False),
    Case("by_a_microsecond", (JAN, FEB + MICROSECOND), (FEB, MAR), True),
    Case("within", (JAN, APR), (FEB, MAR), True),
    Case("both_open", (JAN, None), (MAR, None), True),
    Case("open_after", (JAN, FEB), (FEB, None), False),
    Case("open_before", (JAN, None), (FEB, MAR), True),
    Case("empty", (FEB, FEB), (JAN, None), False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_overlap(case: Case) -> None:
    one = a_binding(bound_from=case.one[0], bound_until=case.one[1])
    other = a_binding(bound_from=case.other[0], bound_until=case.other[1])
    assert one.overlaps(*case.other) is other.overlaps(*case.one) is case.overlap


def test_a_binding_begins_before_it_ends() -> None:
    check_bounds(JAN, None)
    check_bounds(JAN, JAN + MICROSECOND)
    for until in (JAN, JAN - MICROSECOND):
        with pytest.raises(BindingReversed) as refused:
            check_bounds(JAN, until)
        assert refused.value.pointer == "/bound_until"


def test_an_id_is_of_the_instant_however_it_is_spelled() -> None:
    elsewhere = JAN.astimezone(timezone(timedelta(hours=-5)))
    spelled = {"tenant": TENANT, "meter": "m", "subject": "s"}
    assert binding_id(**spelled, bound_from=JAN) == binding_id(**spelled, bound_from=elsewhere)
    assert binding_id(**spelled, bound_from=JAN) != binding_id(**spelled, bound_from=FEB)


def test_a_repeat_agrees_also_after_a_release() -> None:
    binding = a_binding()
    assert agrees(binding, binding)
    assert not agrees(binding, replace(binding, item_id="si_other"))
    assert not agrees(binding, replace(binding, bound_until=MAR))
    assert not agrees(binding, replace(binding, asset_id="ast_1"))
    released = release(binding, FEB)
    assert released is not None
    assert agrees(released, binding)
    assert not agrees(released, replace(binding, item_id="si_other"))


def test_a_release_only_shortens() -> None:
    binding = a_binding(bound_from=JAN, bound_until=MAR)
    cut = release(binding, FEB)
    assert cut is not None
    assert (cut.bound_until, cut.version) == (FEB, 2)
    assert release(binding, MAR) is None
    with pytest.raises(BindingEndsEarlier):
        release(binding, MAR + MICROSECOND)
    with pytest.raises(BindingReversed):
        release(binding, JAN - MICROSECOND)


def test_a_release_at_the_beginning_leaves_nothing() -> None:
    empty = release(a_binding(bound_from=JAN), JAN)
    assert empty is not None
    assert not empty.overlaps(JAN, None)


@pytest.mark.parametrize(
    ("until", "began", "left"),
    [
        (None, True, FEB),
        (MAR, True, FEB),
        (FEB, True, None),  # it ended by then: nothing changes
        (FEB - MICROSECOND, True, None),
        (None, False, JAN),
        (MAR, False, JAN),
    ],
)
def test_the_end_of_the_subscription_releases(
    until: datetime | None, began: bool, left: datetime | None
) -> None:
    released = release_at_end(a_binding(bound_from=JAN, bound_until=until), FEB, began=began)
    assert (released.bound_until if released else None) == left


def test_what_would_begin_after_the_end_becomes_empty() -> None:
    released = release_at_end(a_binding(bound_from=MAR), FEB, began=True)
    assert released is not None
    assert released.bound_until == MAR


instants = st.integers(0, 6).map(lambda month: JAN + timedelta(days=30 * month))


@given(one=instants, until=st.none() | instants, at=instants)
def test_a_released_binding_lies_within_what_it_was(
    one: datetime, until: datetime | None, at: datetime
) -> None:
    if until is not None and until <= one:
        return
    released = release_at_end(a_binding(bound_from=one, bound_until=until), at, began=True)
    if released is not None:
        assert released.bound_until is not None
        assert one <= released.bound_until
        assert until is None or released.bound_until < until
        assert not released.covers_after(max(at, one))
    else:
        assert until is not None
        assert until <= max(at, one)

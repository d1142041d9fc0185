"""How far a meter is filled, and where slices begin and end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.domain.back_fill import BackFill, advance, filled_at_once, slice_end, slice_start

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("gone_through", "total", "percent"),
    [(0, 0, "0"), (0, 9, "0"), (1, 3, "33.3"), (3, 3, "99.9"), (5, 3, "99.9"), (1, 100_000, "0.0")],
)
def test_a_hundred_percent_is_said_when_it_is_done_and_not_before(
    gone_through: int, total: int, percent: str
) -> None:
    assert BackFill("mtr_1", gone_through, total).percent == Decimal(percent)
    assert advance(BackFill("mtr_1", gone_through, total), until=None, event_count=0, now=NOW).percent == 100


def test_a_back_fill_waits_runs_and_is_done() -> None:
    waiting = BackFill("mtr_1", 0, 10)
    running = advance(waiting, until=NOW, event_count=7, now=NOW)
    more = advance(running, until=NOW + QUARTER, event_count=7, now=NOW + QUARTER)
    done = advance(more, until=None, event_count=1, now=NOW + 2 * QUARTER)
    assert [b.state for b in (waiting, running, more, done)] == ["waiting", "running", "running", "done"]
    assert (more.event_count, more.events_total, more.started_at) == (14, 14, NOW)
    assert (done.events_total, done.filled_until, done.done_at) == (15, NOW + QUARTER, NOW + 2 * QUARTER)
    assert filled_at_once("mtr_1", 3, NOW).state == "done"


def test_a_slice_ends_before_the_event_that_is_too_many_or_goes_on_to_the_end() -> None:
    start = datetime(2025, 1, 1, 10, tzinfo=UTC)
    assert slice_end(start, None) is None
    assert slice_end(start, start + timedelta(hours=1, minutes=7)) == start + timedelta(hours=1)
    assert slice_end(start, start + timedelta(minutes=7)) == start + QUARTER  # all in one bucket


@settings(max_examples=50)
@given(seconds=st.integers(0, 10**7), later=st.integers(0, 10**5))
def test_slices_go_on_and_cut_no_bucket(seconds: int, later: int) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    end = slice_end(start, start + timedelta(seconds=later))
    assert end is not None
    assert end > start
    assert slice_start(end) == end

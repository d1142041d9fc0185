"""From which day on raw events are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from services.metering.domain.usage_retention import UsageRetention, keep, move_on, raw_events_gone

NOW = datetime(2026, 3, 15, 13, 37, tzinfo=UTC)


def day(month: int, number: int, hour: int = 0) -> datetime:
    return datetime(2026, month, number, hour, tzinfo=UTC)


class Case(NamedTuple):
    name: str
    days: int | None
    known: datetime | None
    needed: datetime | None
    kept_from: datetime | None


CASES = [
    #    name                     days  known       needed          kept from
    Case("by_whole_days",         10,   None,       None,           day(3, 5)),
    Case("a_window_needs_more",   10,   None,       day(2, 1, 7),   day(2, 1)),
    Case("a_window_needs_less",   10,   None,       day(3, 9),      day(3, 5)),
    Case("goes_forward",          10,   day(3, 4),  None,           day(3, 5)),
    Case("already_there",         10,   day(3, 5),  None,           None),
    Case("never_goes_back",       20,   day(3, 5),  None,           None),
    Case("not_for_a_window",      10,   day(3, 5),  day(2, 1),      None),
    Case("nothing_said",          None, day(3, 5),  None,           None),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_kept(case: Case) -> None:
    retention = UsageRetention(version=1, kept_days=case.days, kept_from=case.known)
    moved = move_on(retention, earliest_needed=case.needed, now=NOW)
    assert (None if moved is None else moved.kept_from) == case.kept_from
    assert moved is None or moved.noted_at == NOW


def test_another_wish_is_another_version_and_brings_nothing_back() -> None:
    kept = keep(UsageRetention(1, 10, day(3, 5), NOW), None)
    assert (kept.version, kept.kept_days, kept.kept_from) == (2, None, day(3, 5))


def test_the_refusal_names_when_raw_events_begin_and_what_can_be_asked() -> None:
    refusal = raw_events_gone(day(3, 5))
    assert "2026-03-05T00:00:00Z" in refusal.message
    assert refusal.remedy is not None
    assert "quarter hours" in refusal.remedy

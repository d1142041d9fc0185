"""The steps of a level add up to the figure, to its last decimal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.exactly import quotient
from services.metering.domain.level_steps import LevelEvent, LevelSpan, LevelStep, PlacedStep, steps_of
from services.metering.domain.levels import LevelPart, area_by_days, integrate, weighted
from services.metering.domain.meter import LevelKind, LevelPer, MeterOptions

START = datetime(2023, 3, 1, tzinfo=UTC)
END = datetime(2023, 4, 1, tzinfo=UTC)
ZONE = "America/New_York"


def step(level: int, contribution: str, seconds: int | None = None, days: int | None = None) -> LevelStep:
    return LevelStep(
        Decimal(level), Decimal(contribution), None if seconds is None else Decimal(seconds), days
    )


def an_event(number: int, at: datetime, value: Any) -> LevelEvent:
    return LevelEvent(at, number.to_bytes(16, "big"), Decimal(value))


def told(options: MeterOptions, *spans: LevelSpan) -> list[LevelStep]:
    return [each.step for each in steps_of(options, spans, start=START, end=END, zone="UTC")]


@pytest.mark.parametrize(
    ("options", "carried", "expected"),
    [
        (
            MeterOptions(level="absolute", per="hour"),
            7,
            [
                step(7, "168", seconds=86_400),
                step(2, "48", seconds=86_400),
                step(5, "3480", seconds=2_505_600),
            ],
        ),
        (
            MeterOptions(level="change", per="hour"),
            7,
            [
                step(7, "168", seconds=86_400),
                step(9, "216", seconds=86_400),
                step(14, "9744", seconds=2_505_600),
            ],
        ),
        (
            MeterOptions(level="change", per="window"),
            0,
            [
                step(0, "0", seconds=86_400),
                step(2, "0.064516129032", seconds=86_400),
                step(7, "6.548387096774", seconds=2_505_600),
            ],
        ),
        (
            MeterOptions(level="change", per="window", by_day=True),
            1,
            [step(1, "1", days=31), step(3, "1.935483870968", days=30), step(8, "4.677419354838", days=29)],
        ),
    ],
)
def test_steps(options: MeterOptions, carried: int, expected: list[LevelStep]) -> None:
    events = [an_event(1, START + timedelta(days=1), 2), an_event(2, START + timedelta(days=2), 5)]
    assert told(options, LevelSpan(START, END, b"\xff", Decimal(carried), events)) == expected


def test_the_level_before_has_no_step_where_an_event_begins_the_span() -> None:
    options = MeterOptions(level="absolute", per="day")
    events = [an_event(1, START, 3), an_event(2, START, 4)]
    assert told(options, LevelSpan(START, END, b"\xff", Decimal(9), events)) == [
        step(3, "0", seconds=0),
        step(4, "124", seconds=31 * 86_400),
    ]


instants = st.integers(0, 31 * 86_400_000_000 - 1).map(lambda us: START + timedelta(microseconds=us))
values = st.decimals(-100, 100, places=3, allow_nan=False, allow_infinity=False)
series = st.tuples(values, st.lists(st.tuples(instants, values), max_size=8))


@given(
    kind=st.sampled_from(["absolute", "change"]),
    per=st.sampled_from(["second", "minute", "hour", "day", "window"]),
    levels=st.lists(series, max_size=4),
)
def test_contributions_add_up_to_the_figure(
    kind: LevelKind, per: LevelPer, levels: list[tuple[Decimal, list[tuple[datetime, Decimal]]]]
) -> None:
    options = MeterOptions(level=kind, per=per)
    spans, area = [], Decimal(0)
    for number, (carried, changes) in enumerate(levels):
        events = [an_event(100 * number + n, at, value) for n, (at, value) in enumerate(sorted(changes))]
        spans.append(LevelSpan(START, END, number.to_bytes(16, "big"), carried, events))
        parts = [LevelPart(event.at, event.at, 1, event.value, Decimal(0)) for event in events]
        area += integrate(kind, carried, parts, [START, END])[0].area
    steps = steps_of(options, spans, start=START, end=END, zone="UTC")
    assert sum((each.step.contribution for each in steps), Decimal(0)) == weighted(options, area, START, END)
    assert [(each.at, each.key) for each in steps] == sorted((each.at, each.key) for each in steps)
    together: list[PlacedStep] = []
    while page := steps_of(
        options,
        spans,
        start=START,
        end=END,
        zone="UTC",
        after=(together[-1].at, together[-1].key) if together else None,
        limit=3,
    ):
        together += page
    assert together == steps


@given(levels=st.lists(series, max_size=3))
def test_contributions_by_day_add_up_to_the_figure(
    levels: list[tuple[Decimal, list[tuple[datetime, Decimal]]]],
) -> None:
    options = MeterOptions(level="change", per="window", by_day=True)
    spans, area, days = [], Decimal(0), 0
    for number, (carried, changes) in enumerate(levels):
        events = [an_event(100 * number + n, at, value) for n, (at, value) in enumerate(sorted(changes))]
        spans.append(LevelSpan(START, END, number.to_bytes(16, "big"), carried, events))
        added, days = area_by_days(carried, changes, START, END, ZONE)
        area += added
    steps = steps_of(options, spans, start=START, end=END, zone=ZONE)
    figure = quotient(area, Decimal(days or 1))
    assert sum((each.step.contribution for each in steps), Decimal(0)) == figure

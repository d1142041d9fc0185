"""Running sums: exact, and the same however the events are cut, repeated in order or mixed."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.aggregation import BucketSums, Sums, Usage, bucket_start, plus, usage_of
from services.metering.domain.measurement import Measurement, Value
from services.metering.domain.meter import Aggregation, Meter, MeterOptions
from services.metering.domain.usage_event import EPOCH, MICROSECOND
from tests.unit.metering.meters import a_meter

METER = a_meter()
METERS = [
    METER,
    *(
        a_meter(aggregation=aggregation)
        for aggregation in ("min", "max", "average", "latest", "peak", "unique")
    ),
    *(
        a_meter(aggregation="time_weighted", options=MeterOptions(level=level))
        for level in ("absolute", "change")
    ),
]

values = st.one_of(
    st.integers(-(10**37), 10**37),
    st.decimals(allow_nan=False, allow_infinity=False, places=20, min_value=-(10**17), max_value=10**17),
)
facts = st.lists(
    st.tuples(st.integers(-(10**9), 10**10), st.sampled_from("ab"), st.sampled_from(["[]", '["x"]']), values)
)

Key = tuple[str, int, str]
Added = tuple[int, Value | None, Value | None, Value | None]


def sums_of(meter: Meter, events: list[tuple[int, str, str, Value]]) -> BucketSums:
    sums = BucketSums()
    for us, subject, group, value in events:
        event_key = f"{us}/{value}".encode()
        member = f"{value}" if meter.aggregation == "unique" else None
        sums.add(
            meter, subject, us, Measurement(None if member else value, group, member, us % 2 == 0), event_key
        )
    return sums


def merged(parts: list[BucketSums]) -> object:
    """As the database adds them up."""
    found: dict[Key, Added] = {}
    last: dict[Key, tuple[int, bytes, Value]] = {}
    levels: dict[Key, tuple[int, Value]] = {}
    members: dict[tuple[Key, str], tuple[int, bytes, bool]] = {}
    unsettled = set()
    for part in parts:
        for a in part.additions():
            key = (a.subject, a.start_s, a.group)
            count, total, least, most = found.get(key, (0, None, None, None))
            found[key] = (
                count + a.event_count,
                joined(plus, total, a.total),
                joined(min, least, a.minimum),
                joined(max, most, a.maximum),
            )
        for b in part.last():
            key = (b.subject, b.start_s, b.group)
            last[key] = max(last.get(key, b[4:]), b[4:])
        for c in part.levels():
            key = (c.subject, c.start_s, c.group)
            first, area = levels.get(key, (c.first_us, 0))
            levels[key] = (min(first, c.first_us), plus(area, c.area))
        for d in part.members():
            place = ((d.subject, d.start_s, d.group), d.member)
            members[place] = max(members.get(place, d[5:]), d[5:])
        unsettled |= set(part.unsettled())
    return found, last, levels, members, unsettled


def joined(join: Callable[[Any, Any], Value], one: Value | None, other: Value | None) -> Value | None:
    return other if one is None else one if other is None else join(one, other)


@given(meter=st.sampled_from(METERS), events=facts, seed=st.integers(0, 2**32))
def test_sums_do_not_depend_on_order_nor_on_how_they_are_cut(
    meter: Meter, events: list[tuple[int, str, str, Value]], seed: int
) -> None:
    whole = merged([sums_of(meter, events)])
    order = random.Random(seed)
    shuffled = order.sample(events, len(events))
    cut = order.randint(0, len(events))
    assert merged([sums_of(meter, shuffled[:cut]), sums_of(meter, shuffled[cut:])]) == whole


@given(st.lists(values))
def test_no_digit_is_lost(numbers: list[Value]) -> None:
    total: Value = 0
    for number in numbers:
        total = plus(total, number)
    assert scaled(total) == sum(scaled(number) for number in numbers)


def scaled(number: Value) -> int:
    """Times 10**20, in integers only."""
    sign, digits, exponent = Decimal(number).as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits))) * 10 ** (20 + exponent)
    return -whole if sign else whole


@given(st.integers(-(10**15), 10**15))
def test_a_bucket_is_half_open_and_holds_its_instant(us: int) -> None:
    instant = EPOCH + us * MICROSECOND
    start = bucket_start(instant, 900)
    assert start <= instant < start + timedelta(seconds=900)
    assert (start - EPOCH) % timedelta(seconds=900) == timedelta(0)


def test_additions_are_sorted_and_touched_buckets_are_told_once() -> None:
    sums = sums_of(
        METER, [(3_600_000_000, "b", "[]", 1), (0, "b", '["x"]', 2), (0, "b", "[]", 3), (0, "a", "[]", 4)]
    )
    keys = [(a.meter_id, a.subject, a.start_s, a.group) for a in sums.additions()]
    assert keys == sorted(keys)
    at = datetime(1970, 1, 1, tzinfo=UTC)
    assert [(t.meter, t.subject, t.start) for t in sums.touched()] == [
        ("minutes", "a", at),
        ("minutes", "b", at),
        ("minutes", "b", at + timedelta(hours=1)),
    ]


@pytest.mark.parametrize(
    ("aggregation", "sums", "quantity"),
    [
        ("count", Sums(3), "3"),
        ("sum", Sums(2, total=Decimal("0.30")), "0.30"),
        ("sum", Sums(0), "0"),
        ("min", Sums(1, minimum=Decimal(-5)), "-5"),
        ("max", Sums(1, maximum=Decimal(-5)), "-5"),
        ("max", Sums(0), "0"),
        ("average", Sums(3, total=Decimal(2)), "0.666666666667"),
        ("average", Sums(3, total=Decimal(-2)), "-0.666666666667"),
        ("average", Sums(0), "0"),
        ("latest", Sums(2, found=Decimal("14.2")), "14.2"),
        ("unique", Sums(5, found=Decimal(3)), "3"),
        ("latest", Sums(0), "0"),
    ],
)
def test_what_sums_mean(aggregation: Aggregation, sums: Sums, quantity: str) -> None:
    assert usage_of(aggregation, sums) == Usage(Decimal(quantity), sums.event_count)

"""Running sums: exact, and the same however the events are cut, repeated in order or mixed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.aggregation import BucketSums, bucket_start, plus, usage_of
from services.metering.domain.measurement import Measurement, Value
from services.metering.domain.usage_event import EPOCH, MICROSECOND
from tests.unit.metering.meters import a_meter

METER = a_meter()

values = st.one_of(
    st.integers(-(10**37), 10**37),
    st.decimals(allow_nan=False, allow_infinity=False, places=20, min_value=-(10**17), max_value=10**17),
)
facts = st.lists(
    st.tuples(st.integers(-(10**9), 10**10), st.sampled_from("ab"), st.sampled_from(["[]", '["x"]']), values)
)

Key = tuple[str, datetime, str]


def sums_of(events: list[tuple[int, str, str, Value]]) -> BucketSums:
    sums = BucketSums()
    for us, subject, group, value in events:
        sums.add(METER, subject, us, Measurement(value, group))
    return sums


def merged(parts: list[BucketSums]) -> dict[Key, tuple[int, Value, Value]]:
    """As the database adds them up."""
    found: dict[Key, tuple[int, Value, Value]] = {}
    for part in parts:
        for a in part.additions():
            assert a.total is not None
            assert a.maximum is not None
            key = (a.subject, a.start_s, a.group)
            count, total, maximum = found.get(key, (0, 0, a.maximum))
            found[key] = (count + a.event_count, plus(total, a.total), max(maximum, a.maximum))
    return found


@given(events=facts, seed=st.integers(0, 2**32))
def test_sums_do_not_depend_on_order_nor_on_how_they_are_cut(
    events: list[tuple[int, str, str, Value]], seed: int
) -> None:
    whole = merged([sums_of(events)])
    order = random.Random(seed)
    shuffled = order.sample(events, len(events))
    cut = order.randint(0, len(events))
    assert merged([sums_of(shuffled[:cut]), sums_of(shuffled[cut:])]) == whole


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
        [(3_600_000_000, "b", "[]", 1), (0, "b", '["x"]', 2), (0, "b", "[]", 3), (0, "a", "[]", 4)]
    )
    keys = [(a.meter_id, a.subject, a.start_s, a.group) for a in sums.additions()]
    assert keys == sorted(keys)
    at = datetime(1970, 1, 1, tzinfo=UTC)
    assert [(t.meter, t.subject, t.start) for t in sums.touched()] == [
        ("minutes", "a", at),
        ("minutes", "b", at),
        ("minutes", "b", at + timedelta(hours=1)),
    ]


def test_a_maximum_may_be_negative_and_no_usage_is_zero() -> None:
    assert usage_of("max", event_count=1, total=None, maximum=Decimal(-5)).quantity == -5
    assert usage_of("max", event_count=0, total=None, maximum=None).quantity == 0
    assert usage_of("sum", event_count=0, total=None, maximum=None).quantity == 0
    assert usage_of("count", event_count=3, total=None, maximum=None).quantity == 3

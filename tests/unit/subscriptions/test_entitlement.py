"""What may be used now: who grants, how grants of several subscriptions come together, what is left of allowances."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.periods import Interval
from services.subscriptions.domain.billing_period import Calendar
from services.subscriptions.domain.entitlement import (
    GRANTING,
    Aggregation,
    Entitlement,
    FeatureGrant,
    Granting,
    TimeSpan,
    UsageBalance,
    entitlements_of,
    find_withheld,
    usage_needed_from,
)
from services.subscriptions.domain.lifecycle import OVER, SubscriptionState

MONTH, YEAR = Interval("month"), Interval("year")
NOW = datetime(2025, 6, 20, 12, tzinfo=UTC)
SUPPORT = FeatureGrant("ftr_1", "support", "switch")
SEATS = FeatureGrant("ftr_2", "seats", "limit", limit=Decimal(5))
WASHES = FeatureGrant("ftr_3", "washes", "metered", allowance=Decimal(12), meter="washes")
MILEAGE = FeatureGrant("ftr_4", "mileage", "metered", allowance=Decimal(18_000), meter="km", interval=YEAR)


def day(month: int, on: int, year: int = 2025) -> datetime:
    return datetime(year, month, on, tzinfo=UTC)


def a_granting(
    *grants: FeatureGrant, id: str = "sub_1", state: SubscriptionState = SubscriptionState.ACTIVE
) -> Granting:
    """Monthly from 15 January 2025 on; the sixth period is under way."""
    return Granting(
        subscription_id=id,
        state=state,
        calendar=Calendar(date(2025, 1, 15), MONTH, "UTC"),
        period=TimeSpan(day(6, 15), day(7, 15)),
        now=NOW,
        grants=grants,
    )


def used(
    quantity: int | str,
    start: datetime = day(6, 15),
    *,
    meter: str = "washes",
    id: str = "sub_1",
    aggregation: Aggregation = "sum",
    as_of: datetime | None = NOW,
) -> UsageBalance:
    return UsageBalance(id, meter, start, Decimal(quantity), aggregation, as_of)


def only(found: list[Entitlement]) -> Entitlement:
    [entitlement] = found
    return entitlement


@pytest.mark.parametrize("state", SubscriptionState)
def test_a_subscription_grants_while_it_is_running_and_nothing_withholds_it(state: SubscriptionState) -> None:
    granted = entitlements_of([a_granting(SUPPORT, state=state)], [])
    assert bool(granted) == (state in GRANTING)
    assert {
        SubscriptionState.TRIALING,
        SubscriptionState.ACTIVE,
        SubscriptionState.PAST_DUE,
        SubscriptionState.ENDING,
    } == GRANTING


def test_what_has_not_begun_grants_nothing_whatever_its_state() -> None:
    assert entitlements_of([replace(a_granting(SUPPORT), period=None)], []) == []


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (["suspended"], "suspended"),
        (["paused"], "paused"),
        (["scheduled"], "scheduled"),
        (["awaiting_activation"], "awaiting_activation"),
        (["scheduled", "paused", "suspended"], "suspended"),
    ],
)
def test_why_a_feature_is_withheld(states: list[str], reason: str) -> None:
    found = [a_granting(SUPPORT, state=SubscriptionState(state)) for state in states]
    answer = find_withheld("support", [*found, a_granting(SEATS)])
    assert answer is not None
    assert (answer.allowed, answer.reason, answer.kind) == (False, reason, "switch")


def test_what_nothing_would_grant_is_not_withheld() -> None:
    paused = a_granting(SEATS, state=SubscriptionState.PAUSED)
    assert find_withheld("support", [paused, a_granting(SUPPORT)]) is None


def test_every_state_in_which_a_subscription_may_be_found_grants_or_is_a_reason() -> None:
    reasons = {"suspended", "paused", "scheduled", "awaiting_activation"}
    assert {state.value for state in set(SubscriptionState) - GRANTING - OVER} == reasons


def test_switches_are_on_once_and_limits_add_up() -> None:
    more = replace(SEATS, limit=Decimal("2.5"))
    seats, support = entitlements_of(
        [a_granting(SUPPORT, SEATS, more), a_granting(SUPPORT, SEATS, id="sub_2")], []
    )
    assert (seats.code, seats.limit, seats.allowed) == ("seats", Decimal("12.5"), True)
    assert (support.allowed, support.subscription_ids) == (True, ("sub_1", "sub_2"))


def test_a_limit_of_nothing_allows_nothing() -> None:
    answer = only(entitlements_of([a_granting(replace(SEATS, limit=Decimal(0)))], []))
    assert (answer.allowed, answer.reason) == (False, "limit_is_zero")


class Case(NamedTuple):
    name: str
    grant: FeatureGrant
    balances: list[UsageBalance]
    used: int | None
    remaining: int | None
    reason: str | None


FREE = replace(WASHES, overage_allowed=True)
DAILY = replace(WASHES, interval=Interval("day"))
CASES = [
    Case("nothing_was_told_yet", WASHES, [], 0, 12, None),
    Case("some_is_left", WASHES, [used(5)], 5, 7, None),
    Case("the_last_one", WASHES, [used(11)], 11, 1, None),
    Case("all_is_used", WASHES, [used(12)], 12, 0, "used_up"),
    Case("more_than_all", WASHES, [used(15)], 15, 0, "used_up"),
    Case("use_goes_on_beyond", FREE, [used(15)], 15, 0, None),
    Case("another_meter", WASHES, [used(5, meter="km")], 0, 12, None),
    Case("the_last_period", WASHES, [used(5, day(5, 15)), used(2)], 2, 10, None),
    Case("two_items", WASHES, [used(5), used(3)], 8, 4, None),
    Case("begins_within_the_period", WASHES, [used(5, day(6, 18))], 5, 7, None),
    Case("a_year_of_months", MILEAGE, [used(n * 1000, day(n, 15), meter="km") for n in (1, 2, 6)], 9000, 9000, None),
    Case("the_year_before", MILEAGE, [used(900, day(12, 15, 2024), meter="km")], 0, 18_000, None),
    Case("the_highest_counts", WASHES, [used(7, aggregation="max"), used(4, aggregation="max")], 7, 5, None),
    Case("of_peaks_the_highest", WASHES, [used(7, aggregation="peak"), used(4, aggregation="peak")], 7, 5, None),
    Case("the_least_counts", WASHES, [used(7, aggregation="min"), used(4, aggregation="min")], 4, 8, None),
    Case("things_add_up", WASHES, [used(7, aggregation="unique"), used(4, aggregation="unique")], 11, 1, None),
    Case("levels_add_up", WASHES, [used(n, aggregation="time_weighted") for n in (7, 1)], 8, 4, None),
    Case("more_often_than_it_is_told", DAILY, [used(50)], None, None, None),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_left_of_an_allowance(case: Case) -> None:
    answer = only(entitlements_of([a_granting(case.grant)], case.balances))
    assert (answer.used, answer.remaining, answer.reason) == (case.used, case.remaining, case.reason)


@pytest.mark.parametrize("aggregation", ["latest", "average"])
def test_of_a_level_that_is_read_the_last_one_counts_in_whatever_order_they_come(
    aggregation: Aggregation,
) -> None:
    first, last = used(9, day(6, 15), aggregation=aggregation), used(4, day(6, 18), aggregation=aggregation)
    for balances in ([first, last], [last, first]):
        assert only(entitlements_of([a_granting(WASHES)], balances)).used == 4


@pytest.mark.parametrize(
    ("grant", "resets_at"), [(WASHES, day(7, 15)), (MILEAGE, day(1, 15, 2026)), (DAILY, day(6, 21))]
)
def test_when_an_allowance_begins_anew(grant: FeatureGrant, resets_at: datetime) -> None:
    assert only(entitlements_of([a_granting(grant)], [])).resets_at == resets_at


def test_the_instant_is_that_of_the_last_balance() -> None:
    balances = [used(1, as_of=day(6, 16)), used(1, as_of=day(6, 18)), used(1, as_of=None)]
    assert only(entitlements_of([a_granting(WASHES)], balances)).as_of == day(6, 18)
    assert only(entitlements_of([a_granting(WASHES)], [])).as_of is None


def test_allowances_of_several_subscriptions_are_one_and_so_is_their_usage() -> None:
    found = [a_granting(WASHES, replace(WASHES, allowance=Decimal(3))), a_granting(FREE, id="sub_2")]
    balances = [used(10), used(4, id="sub_2"), used(100, id="sub_3")]
    answer = only(entitlements_of(found, balances))
    assert (answer.allowance, answer.used, answer.remaining) == (27, 14, 13)
    assert (answer.overage_allowed, answer.subscription_ids) == (True, ("sub_1", "sub_2"))


def test_usage_is_needed_from_the_earliest_allowance_on_of_what_grants_now() -> None:
    found = [
        a_granting(WASHES, MILEAGE),
        a_granting(WASHES, id="sub_2"),
        a_granting(SUPPORT, id="sub_3"),
        a_granting(WASHES, id="sub_4", state=SubscriptionState.PAUSED),
    ]
    assert usage_needed_from(found) == {"sub_1": day(1, 15), "sub_2": day(6, 15)}


quantities = st.lists(st.integers(0, 20), max_size=6)


@settings(max_examples=50)
@given(used_by=st.lists(quantities, min_size=1, max_size=4), overage=st.booleans())
def test_what_is_used_and_what_remains_is_the_allowance_unless_more_was_used(
    used_by: list[list[int]], overage: bool
) -> None:
    grant = replace(WASHES, overage_allowed=overage)
    found = [a_granting(grant, id=f"sub_{n}") for n in range(len(used_by))]
    balances = [used(q, id=f"sub_{n}") for n, mine in enumerate(used_by) for q in mine]
    answer = only(entitlements_of(found, balances))
    assert answer.allowance is not None
    assert answer.used is not None
    assert answer.remaining == max(answer.allowance - answer.used, Decimal(0))
    assert answer.used == sum(q for mine in used_by for q in mine)
    assert answer.allowed == (overage or answer.used < answer.allowance)

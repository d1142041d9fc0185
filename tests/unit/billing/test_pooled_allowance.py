"""A pool comes to what was used in it beyond what its days earned, worked out a second time, day by day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import round_half_away
from libs.common.periods import Interval, boundary, nth_period
from services.billing.domain.agreement import Agreement, BilledItem, BilledPeriod, Bounds, CustomerDetails
from services.billing.domain.charge import Charge, ItemUsage, UsageOfPeriod
from services.billing.domain.pooled_allowance import wrong_pools
from services.billing.domain.rating.allowance import AllowanceBalance, AllowancePool
from services.billing.domain.rating.explain import explain
from services.billing.domain.rating.price import Price, PriceTier
from services.billing.domain.rating.rate import rate_usage
from services.billing.domain.rating.usage import Usage
from services.billing.domain.terms import PeriodTerms, TermSegment
from services.billing.domain.usage_difference import WindowUsage, usage_differences
from tests.support.recompute import earned, recompute
from tests.unit.billing.prices import a_price

MONTH = Interval("month")
NOW = datetime(2030, 1, 1, tzinfo=UTC)
KILOMETRES = replace(
    a_price(
        "per_unit", "0.10", included="18000", allowance_interval_unit="year", allowance_pool="subscription"
    ),
    kind="usage",
    timing="arrears",
    meter="km",
)
YEARLY = replace(KILOMETRES, allowance_pool="interval")


class Life(NamedTuple):
    """An agreement from one day until another, and what was used in each of its months."""

    price: Price
    anchor_on: date
    start_on: date
    end_on: date
    used: tuple[int, ...]

    @property
    def agreement(self) -> Agreement:
        customer = CustomerDetails("cus", 1, "Hotel", None, None, None)
        item = BilledItem("itm_1", self.price, None)
        return Agreement(
            "sub", 1, customer, "EUR", "UTC", (item,), at(self.end_on), None, self.anchor_on, MONTH
        )

    def windows(self, used: Sequence[int], recorded: Sequence[Charge]) -> list[WindowUsage]:
        found = []
        for index, quantity in enumerate(used):
            whole = nth_period(self.anchor_on, MONTH, "UTC", index)
            start_on, end_on = max(whole.start_on, self.start_on), min(whole.end_on, self.end_on)
            full = Bounds(whole.start_on, whole.end_on, whole.start, whole.end)
            period = BilledPeriod(index, start_on, end_on, at(start_on), at(end_on), full=full)
            segment = TermSegment("itm_1", self.price, None, start_on, end_on, at(start_on), at(end_on))
            told = ItemUsage("itm_1", "km", Decimal(quantity), 1, self.price.id)
            usage = UsageOfPeriod(f"w_{index}", "sub", index, at(start_on), at(end_on), at(end_on), (told,))
            mine = tuple(charge for charge in recorded if charge.period_index == index)
            found.append(WindowUsage(usage, mine, PeriodTerms("sub", 1, period, (segment,))))
        return found


def at(on: date) -> datetime:
    return datetime(on.year, on.month, on.day, tzinfo=UTC)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    anchor_on = date(2027, 1, 1) + timedelta(days=draw(st.integers(0, 400)))
    start_on = anchor_on + timedelta(days=draw(st.integers(0, 27)))
    months = draw(st.integers(1, 16))
    last = boundary(anchor_on, MONTH, months)
    end_on = max(last - timedelta(days=draw(st.integers(0, 27))), start_on + timedelta(days=1))
    used = draw(st.lists(st.integers(0, 4000), min_size=months, max_size=months))
    return Life(draw(st.sampled_from([KILOMETRES, YEARLY])), anchor_on, start_on, end_on, tuple(used))


def expected(life: Life) -> int:
    """In cents, of all pools together: each begins where a year of the anchor does."""
    found = 0
    pools: dict[int, tuple[list[date], int]] = {}
    for index, quantity in enumerate(life.used):
        first, after = (boundary(life.anchor_on, MONTH, n) for n in (index, index + 1))
        span = (first + timedelta(days=n) for n in range((after - first).days))
        days = [on for on in span if life.start_on <= on < life.end_on]
        pool = index // 12 if life.price.allowance_pool == "interval" else 0
        before = pools.get(pool, ([], 0))
        pools[pool] = (before[0] + days, before[1] + quantity)
    for days, quantity in pools.values():
        beyond = max(quantity - earned(18000, 12, days, life.anchor_on), Fraction(0))
        found += round_half_away(beyond * Fraction(1, 10) * 100, 0)
    return found


@settings(max_examples=20, deadline=None)
@given(life=lives(), data=st.data())
def test_a_pool_comes_to_what_was_used_beyond_what_its_days_earned(life: Life, data: st.DataObject) -> None:
    first = data.draw(st.lists(st.integers(0, 4000), min_size=len(life.used), max_size=len(life.used)))
    recorded: list[Charge] = []
    for used in (first, life.used):  # what was counted first, and what it came to later
        recorded += usage_differences(life.agreement, life.windows(used, recorded), now=NOW)
    assert sum(charge.amount.amount_minor for charge in recorded) == expected(life)
    assert usage_differences(life.agreement, life.windows(life.used, recorded), now=NOW) == []
    assert list(wrong_pools(recorded)) == []
    if len(recorded) > 1:
        first = min(recorded, key=lambda charge: (charge.period_index, -charge.revision))
        other = replace(first, allowance=with_used_before(first.allowance, 1))
        assert list(wrong_pools([other, *(charge for charge in recorded if charge is not first)]))


def with_used_before(balance: AllowanceBalance | None, used: int) -> AllowanceBalance:
    assert balance is not None
    assert balance.pool is not None
    return replace(balance, pool=replace(balance.pool, used_before=Decimal(used)))


def test_twenty_months_of_a_car() -> None:
    life = Life(KILOMETRES, date(2024, 1, 1), date(2024, 1, 1), date(2025, 9, 1), (1660,) * 20)
    assert expected(life) == 32000


TIERS = (PriceTier(Decimal(1000), Decimal("0.10"), flat_amount=Decimal(5)), PriceTier(None, Decimal("0.08")))
MODELS = [
    #  model        terms                                          beyond 1,500 used in all  amount in cents
    ("per_unit",  {"unit_amount": Decimal("0.10")},                 "3200",                  17000),
    ("graduated", {"unit_amount": None, "tiers": TIERS},            "3200",                  10500 + 5600),
    ("volume",    {"unit_amount": None, "tiers": TIERS},            "3200",                  13600),
    ("package",   {"package_size": Decimal(100), "unit_amount": Decimal(9)}, "1501",         900),
    ("per_unit",  {"unit_amount": Decimal("0.10"), "minimum_amount": Decimal(20)}, "1501",   2000),
]  # fmt: skip


@pytest.mark.parametrize(("model", "terms", "used", "amount"), MODELS)
def test_by_whatever_model_it_is_rated_as_one_and_explained(
    model: str, terms: dict[str, object], used: str, amount: int
) -> None:
    price = replace(KILOMETRES, model=model, **terms)  # type: ignore[arg-type]
    start = datetime(2025, 1, 1, tzinfo=UTC)
    pool = AllowancePool(date(2025, 1, 1), start, None, Fraction(1), 12, "month", Decimal(used) - 100)
    for is_last, owed in ((False, 0), (True, amount)):
        opening = AllowanceBalance(price.included_quantity, pool=replace(pool, is_last=is_last))
        rated = rate_usage(price, Usage(Decimal(100)), allowance=opening)
        assert rated.amount.amount_minor == owed
        explanation = explain(rated)
        assert sum(recompute(json.dumps(explanation.to_json()))) == owed
        assert "used of the pool since 2025-01-01" in explanation.paragraph()

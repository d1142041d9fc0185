"""Random lives once more: on every day that is over, the movements add up to what the reference model has agreed on."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from libs.common.periods import Interval
from services.subscriptions.domain.recurring_fee import FeePrice, FeeTier
from services.subscriptions.domain.recurring_revenue import (
    PriceKey,
    RecurringPrice,
    marks_of,
    snapped,
    stretches_of,
)
from tests.model.calendar import DAY, day_of
from tests.model.money import Tariff
from tests.model.test_subscription_life import SubscriptionLife

IN_A_MONTH = {
    "day": Fraction(365, 12),
    "week": Fraction(52, 12),
    "month": Fraction(1),
    "year": Fraction(1, 12),
}


def interval_of(price_id: str) -> tuple[str, int]:
    """Told by its last part: `month3`."""
    found = re.search(r"(day|week|month|year)(\d+)$", price_id)
    assert found is not None, price_id
    return found.group(1), int(found.group(2))


class Prices(dict[PriceKey, RecurringPrice]):
    """The model's tariffs in the product's words, by the price's own id."""

    def __init__(self, tariffs: dict[str, Tariff]) -> None:
        super().__init__()
        self.tariffs = tariffs

    def __missing__(self, key: PriceKey) -> RecurringPrice:
        tariff, (unit, count) = self.tariffs[key[2]], interval_of(key[2])
        price = FeePrice(
            id=key[2],
            description=key[2],
            model="flat"
            if tariff.fee is not None
            else "per_unit"
            if tariff.unit is not None
            else "graduated",
            interval=Interval(unit, count),  # type: ignore[arg-type]
            unit_amount=tariff.fee if tariff.fee is not None else tariff.unit,
            tiers=tuple(FeeTier(up_to, each, flat) for up_to, each, flat in tariff.tiers),
        )
        return RecurringPrice(price, "EUR")


class RevenueLife(SubscriptionLife):
    compared = 0

    @invariant()
    def movements_add_up_to_what_is_agreed_on(self) -> None:
        if self.model.credit == "full" or not self.model.periods:
            return  # what is given back in full for the last period was agreed on all the same
        marks = marks_of(stretches_of(self.product.subscription), Prices(self.tariffs))
        stretches = [
            stretch
            for period in self.model.periods
            for known in self.model.terms(period).values()
            for stretch in known
            if self.tariffs[stretch.price].kind == "recurring"
        ]
        edges = {on for on, _, _ in marks} | {on for one in stretches for on in (one.start_on, one.end_on)}
        today = day_of(self.now, self.model.zone)
        if self.model.over is not None:
            assert sum(marks.values(), Decimal(0)) == 0
        for on in sorted({edge + days * DAY for edge in edges for days in (-1, 0, 1)}):
            if on < today:
                known = sum((amount for mark, amount in marks.items() if mark[0] <= on), Decimal(0))
                assert abs(snapped(known) - self.expected(on, stretches)) < Fraction(1, 10**11), on
                type(self).compared += 1

    def expected(self, on: date, stretches: list) -> Fraction:  # type: ignore[type-arg]
        total = Fraction(0)
        for stretch in stretches:
            if stretch.start_on <= on < stretch.end_on:
                unit, count = interval_of(stretch.price)
                cost = self.tariffs[stretch.price].cost(stretch.quantity)
                total += cost / 100 * IN_A_MONTH[unit] / count
        return total


def test_mrr_is_what_is_agreed_on_on_every_day(record_property: Callable[[str, object], None]) -> None:
    RevenueLife.compared = 0
    few = settings(
        max_examples=40,
        stateful_step_count=30,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(RevenueLife, settings=few)
    record_property("figures", f"{RevenueLife.compared} days of random lives agree with the reference model")
    assert RevenueLife.compared > 1_000

"""A plan that nobody has published is looked through before it is simulated: every fault, with its place."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from libs.common.periods import Interval
from services.billing.domain.plan_faults import plan_faults
from services.billing.domain.plan_terms import PlanTerms, Trial
from services.billing.domain.rating.commitment import Commitment
from tests.unit.billing.prices import a_tier
from tests.unit.billing.simulations import a_fee, a_plan, a_usage_price, at_least, phases

GOOD = a_plan(
    a_fee("seats", "10"),
    a_usage_price("calls", "graduated", tiers=(a_tier("10", "1"), a_tier(None, "0.5"))),
    replace(a_fee("ramp", "5"), phase="start", interval_unit="year"),
    phases=phases(("start", 2), ("full", None)),
    trial=Trial(Interval("day", 14), Decimal(1)),
    commitments=(at_least("least", of=["seats"], per="year", minimum_quantity="10"),),
)
SEATS = GOOD.prices[0]


def plan(**changes: Any) -> PlanTerms:
    return replace(GOOD, **changes)


def with_price(**changes: Any) -> PlanTerms:
    return plan(prices=(replace(SEATS, **changes), *GOOD.prices[1:]))


def with_commitment(**changes: Any) -> PlanTerms:
    plain: dict[str, Any] = {"code": "x", "description": "", "currency": "EUR"}
    return plan(commitments=(Commitment(**{**plain, **changes}),))


CASES = {
    "good": (GOOD, []),
    "no_currency": (plan(currency=""), ["/currency"]),
    "not_its_currency": (plan(currency="USD"), ["/currency"]),
    "unknown_currency": (plan(currency="XXX"), ["/currency", "/currency"]),
    "too_long": (plan(interval=Interval("month", 121), prices=(SEATS,), phases=(), commitments=()),
                 ["/interval/count"]),
    "no_prices": (plan(prices=(), commitments=()), ["/prices"]),
    "too_many_prices": (plan(prices=tuple(replace(SEATS, code=f"s{n}") for n in range(201)), commitments=()),
                        ["/prices"]),
    "code_twice": (plan(prices=(*GOOD.prices, SEATS)), ["/prices/3/code"]),
    "open_phase_first": (plan(phases=phases(("start", None), ("full", None))), ["/phases/0/periods"]),
    "closed_phase_last": (plan(phases=phases(("start", 1))), ["/phases/0/periods"]),
    "phase_twice": (plan(phases=phases(("start", 1), ("start", None))), ["/phases/1/code"]),
    "unknown_phase": (with_price(phase="later"), ["/prices/0/phase"]),
    "price_of_no_model": (with_price(unit_amount=None), ["/prices/0/unit_amount"]),
    "interval_of_price": (with_price(interval_unit="week"), ["/prices/0/interval"]),
    "allowance": (with_price(allowance_interval_unit="week", included_quantity=Decimal(1)),
                  ["/prices/0/allowance_interval"]),
    "nothing_allowed": (with_price(allowance_interval_unit="year"), ["/prices/0/allowance_interval"]),
    "free_trial_with_amount": (plan(trial=Trial(Interval("day"), Decimal(0))), ["/trial/amount"]),
    "endless_trial": (plan(trial=Trial(Interval("day", 400))), ["/trial/interval/count"]),
    "committed_to_nothing": (with_commitment(), ["/commitments/0"]),
    "committed_below_zero": (with_commitment(minimum_amount=Decimal(-1)), ["/commitments/0/minimum_amount"]),
    "more_at_least_than_at_most": (with_commitment(minimum_amount=Decimal(2), maximum_amount=Decimal(1)),
                                   ["/commitments/0/maximum_amount"]),
    "commitment_to_no_price": (with_commitment(minimum_amount=Decimal(1), price_codes=("x",)),
                               ["/commitments/0/price_codes/0"]),
    "commitment_elsewhere": (with_commitment(minimum_amount=Decimal(1), currency="USD"),
                             ["/commitments/0/currency"]),
    "quantity_of_tiers": (with_commitment(minimum_quantity=Decimal(1), price_codes=("calls",)),
                          ["/commitments/0/price_codes"]),
    "quantity_of_all": (with_commitment(minimum_quantity=Decimal(1)), ["/commitments/0/price_codes"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_place(name: str) -> None:
    given, pointers = CASES[name]
    assert [fault["pointer"] for fault in plan_faults(given, "/draft")] == [f"/draft{at}" for at in pointers]


def test_all_faults_are_told_at_once() -> None:
    bad = plan(currency="USD", trial=Trial(Interval("day"), Decimal(0)), prices=(replace(SEATS, phase="x"),))
    assert [fault["pointer"] for fault in plan_faults(bad, "")] == [
        "/currency",
        "/trial/amount",
        "/prices/0/phase",
    ]


def test_a_year_of_weeks_is_no_year() -> None:
    weekly = plan(interval=Interval("week"), prices=GOOD.prices[:2])
    assert "/commitments/0/per" in [fault["pointer"] for fault in plan_faults(weekly, "")]

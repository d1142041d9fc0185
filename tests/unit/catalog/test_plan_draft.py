"""A draft as a whole: all faults at once, each with its place."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from libs.common.periods import Interval
from services.catalog.domain.commitment import Commitment
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.late_usage import LateUsage
from services.catalog.domain.phase import Phase
from services.catalog.domain.plan_draft import (
    PRICES_MAX,
    Known,
    MeterUnknown,
    PlanDraft,
    PlanInvalid,
    check_draft,
)
from services.catalog.domain.price import Price
from services.catalog.domain.trial import Trial
from tests.support.catalog import MONTHLY, NOW, a_draft, a_fee, a_product, a_usage_price

ONE = Decimal(1)
YEARLY, QUARTERLY = Interval("year", 1), Interval("month", 3)
MINUTES = KnownMeter("flying-minutes", "mtr_1", "sum", "minute", 1)
KNOWN = Known(
    products={"prd_engine": a_product(), "prd_old": a_product(id="prd_old", code="old", archived_at=NOW)},
    meters={"flying-minutes": MINUTES, "landings": KnownMeter("landings", "mtr_2", "count", None, 1)},
    base_plans=frozenset({"power", "light"}),
)
RAMP = (Phase("ramp", "First quarter", 3), Phase("then", "After"))


def euros(price: Price, **changes: Any) -> Price:
    return replace(price, currency="EUR", **changes)


class Case(NamedTuple):
    name: str
    draft: PlanDraft
    faults: tuple[str, ...]


CASES = [
    Case("unknown_currency", a_draft(currency="XYZ"), ("/currency",)),
    Case("gold_is_no_money", a_draft(currency="XAU"), ("/currency",)),
    Case("no_price_in_the_currency", a_draft(euros(a_fee())), ("/currency",)),
    Case("unknown_currency_of_a_price", a_draft(a_fee(), a_fee(code="b", currency="XYZ")), ("/prices/1/currency",)),
    Case(
        "no_currency_at_all",
        PlanDraft("Empty", "", MONTHLY, (a_fee(currency=""),)),
        ("/currency", "/prices/0/currency"),
    ),
    Case("no_prices", PlanDraft("Empty", "USD", MONTHLY, ()), ("/prices",)),
    Case("an_eleventh_year", a_draft(interval=Interval("year", 11)), ("/interval/count",)),
    Case("duplicate_code", a_draft(a_fee(), a_fee(), a_fee()), ("/prices/1/code", "/prices/2/code")),
    Case(
        "duplicate_code_in_a_currency",
        a_draft(a_fee(), euros(a_fee()), euros(a_fee())),
        ("/prices/2/code",),
    ),
    Case(
        "another_price_in_another_currency",
        a_draft(a_usage_price(), euros(a_usage_price(), meter="landings", product_id="prd_engine", unit=None)),
        ("/prices/1/meter", "/prices/1/unit"),
    ),
    Case("too_many_prices", a_draft(*[a_fee(code=f"c{n}") for n in range(PRICES_MAX + 1)]), ("/prices",)),
    Case("archived_product", a_draft(a_fee(product_id="prd_old")), ("/prices/0/product_id",)),
    Case("unit_of_another_meter", a_draft(a_usage_price(unit="km")), ("/prices/0/unit",)),
    Case("quarters_and_odd_months", a_draft(a_fee(interval=QUARTERLY), interval=Interval("month", 2)),
         ("/prices/0/interval",)),
    Case("weeks_of_a_month", a_draft(a_fee(interval=Interval("week", 1))), ("/prices/0/interval",)),
    Case(
        "allowance_across_charges",
        a_draft(
            a_usage_price(included_quantity=ONE, interval=QUARTERLY, allowance_interval=Interval("month", 4)),
            interval=YEARLY,
        ),
        ("/prices/0/allowance_interval",),
    ),
    Case("unknown_phase", a_draft(a_fee(phase="later"), phases=RAMP), ("/prices/0/phase",)),
    Case("endless_phase", a_draft(phases=RAMP[::-1]), ("/phases/0/periods", "/phases/1/periods")),
    Case("base_plan_for_plans", a_draft(for_plans=("power",)), ("/for_plans",)),
    Case("unknown_plan", a_draft(kind="add_on", for_plans=("power", "heat")), ("/for_plans/1",)),
    Case("plan_twice", a_draft(kind="add_on", for_plans=("power", "power")), ("/for_plans/1",)),
    Case("bad_trial", a_draft(trial=Trial(YEARLY)), ("/trial/interval/unit",)),
    Case("late_before_the_end", a_draft(late_usage=LateUsage(window_days=-1)), ("/late_usage/window_days",)),
    Case("late_for_eleven_years", a_draft(late_usage=LateUsage(window_days=3661)), ("/late_usage/window_days",)),
    Case("late_usage_of_an_add_on", a_draft(kind="add_on", late_usage=LateUsage("draft_only")), ("/late_usage",)),
    Case(
        "unknown_committed_price",
        a_draft(commitments=(Commitment("least", "", "USD", ("other",), minimum_amount=ONE),)),
        ("/commitments/0/price_codes/0",),
    ),
    Case(
        "faults_of_all_prices",
        a_draft(a_fee(unit_amount=None), a_usage_price(meter=None, code="aircraft"), currency="XYZ"),
        ("/currency", "/prices/1/code", "/prices/0/unit_amount", "/prices/1/meter"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check_draft_lists_every_fault(case: Case) -> None:
    with pytest.raises(PlanInvalid) as refused:
        check_draft(case.draft, KNOWN)
    assert tuple(fault["pointer"] for fault in refused.value.errors) == case.faults
    assert type(refused.value) is PlanInvalid
    assert all(": " in fault["detail"] for fault in refused.value.errors)


@pytest.mark.parametrize(
    "draft",
    [
        a_draft(),
        a_draft(currency="JPY"),
        a_draft(interval=Interval("year", 10)),
        a_draft(*[a_fee(code=f"c{n}") for n in range(PRICES_MAX)]),
        a_draft(a_fee(unit_amount=Decimal("0.000000000001"))),
        a_draft(a_fee(), euros(a_fee(), unit_amount=ONE)),
        a_draft(a_usage_price(unit=None), a_usage_price(code="b", meter="landings", unit="landing")),
        a_draft(a_fee(interval=YEARLY), a_usage_price(included_quantity=ONE, allowance_interval=YEARLY)),
        a_draft(a_fee(), a_usage_price(interval=MONTHLY), interval=YEARLY),
        a_draft(
            a_fee(phase="ramp"), a_usage_price(phase="then"), phases=RAMP, trial=Trial(Interval("day", 14))
        ),
        a_draft(kind="add_on"),
        a_draft(kind="add_on", for_plans=("power", "light")),
        a_draft(commitments=(Commitment("least", "", "USD", ("minutes",), minimum_amount=ONE),)),
        a_draft(late_usage=LateUsage("note_at_once", 0)),
        a_draft(late_usage=LateUsage("draft_only", 3660)),
    ],
)
def test_check_draft_lets_a_good_one_pass(draft: PlanDraft) -> None:
    check_draft(draft, KNOWN)


def test_a_price_for_another_unit_than_its_meter_counts_in_is_told_both() -> None:
    with pytest.raises(PlanInvalid) as refused:
        check_draft(a_draft(a_usage_price(unit="km")), KNOWN)
    [fault] = refused.value.errors
    assert fault["detail"] == (
        "the price is for each km, and its meter flying-minutes counts in minute: "
        "leave unit out to charge by minute, or use a meter that counts in km"
    )


def test_unknown_meters_alone_are_an_error_of_their_own_that_may_be_waited_for() -> None:
    with pytest.raises(MeterUnknown) as refused:
        check_draft(a_draft(), replace(KNOWN, meters={}))
    assert [fault["pointer"] for fault in refused.value.errors] == ["/prices/1/meter"]


def test_an_unknown_meter_among_other_faults_is_listed_but_not_waited_for() -> None:
    with pytest.raises(PlanInvalid) as refused:
        check_draft(a_draft(currency="XYZ"), replace(KNOWN, meters={}))
    assert not isinstance(refused.value, MeterUnknown)
    assert [fault["pointer"] for fault in refused.value.errors] == ["/currency", "/prices/1/meter"]


def test_faults_found_while_reading_come_first() -> None:
    found = [{"pointer": "/prices/0/product", "detail": "there is no such product"}]
    with pytest.raises(PlanInvalid) as refused:
        check_draft(a_draft(currency="XYZ"), KNOWN, found=found)  # type: ignore[arg-type]
    assert [fault["pointer"] for fault in refused.value.errors] == ["/prices/0/product", "/currency"]

"""A draft as a whole: all faults at once, each with its place."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import pytest

from libs.common.periods import Interval
from services.catalog.domain.plan_draft import PRICES_MAX, MeterUnknown, PlanDraft, PlanInvalid, check_draft
from tests.support.catalog import NOW, a_draft, a_fee, a_product, a_usage_price

METERS = frozenset({"flying-minutes"})


class Case(NamedTuple):
    name: str
    draft: PlanDraft
    faults: tuple[str, ...]


CASES = [
    Case("unknown_currency", a_draft(currency="XYZ"), ("/currency",)),
    Case("gold_is_no_money", a_draft(currency="XAU"), ("/currency",)),
    Case("no_prices", PlanDraft("Empty", "USD", Interval("month", 1), ()), ("/prices",)),
    Case("an_eleventh_year", a_draft(interval=Interval("year", 11)), ("/interval/count",)),
    Case("duplicate_code", a_draft(a_fee(), a_fee(), a_fee()), ("/prices/1/code", "/prices/2/code")),
    Case("too_many_prices", a_draft(*[a_fee(code=f"c{n}") for n in range(PRICES_MAX + 1)]), ("/prices",)),
    Case("archived_product", a_draft(a_fee(product_id="prd_old")), ("/prices/0/product_id",)),
    Case(
        "faults_of_all_prices",
        a_draft(a_fee(unit_amount=None), a_usage_price(meter=None, code="aircraft"), currency="XYZ"),
        ("/currency", "/prices/0/unit_amount", "/prices/1/code", "/prices/1/meter"),
    ),
]
PRODUCTS = {
    "prd_engine": a_product(),
    "prd_old": a_product(id="prd_old", code="old", archived_at=NOW),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check_draft_lists_every_fault(case: Case) -> None:
    with pytest.raises(PlanInvalid) as refused:
        check_draft(case.draft, products=PRODUCTS, meters=METERS)
    assert tuple(fault["pointer"] for fault in refused.value.errors) == case.faults
    assert type(refused.value) is PlanInvalid


@pytest.mark.parametrize(
    "draft",
    [
        a_draft(),
        a_draft(currency="JPY"),
        a_draft(interval=Interval("year", 10)),
        a_draft(*[a_fee(code=f"c{n}") for n in range(PRICES_MAX)]),
        a_draft(a_fee(unit_amount=Decimal("0.000000000001"))),
    ],
)
def test_check_draft_lets_a_good_one_pass(draft: PlanDraft) -> None:
    check_draft(draft, products=PRODUCTS, meters=METERS)


def test_unknown_meters_alone_are_an_error_of_their_own_that_may_be_waited_for() -> None:
    with pytest.raises(MeterUnknown) as refused:
        check_draft(a_draft(), products=PRODUCTS, meters=frozenset())
    assert [fault["pointer"] for fault in refused.value.errors] == ["/prices/1/meter"]


def test_an_unknown_meter_among_other_faults_is_listed_but_not_waited_for() -> None:
    with pytest.raises(PlanInvalid) as refused:
        check_draft(a_draft(currency="XYZ"), products=PRODUCTS, meters=frozenset())
    assert not isinstance(refused.value, MeterUnknown)
    assert [fault["pointer"] for fault in refused.value.errors] == ["/currency", "/prices/1/meter"]


def test_faults_found_while_reading_come_first() -> None:
    found = [{"pointer": "/prices/0/product", "detail": "there is no such product"}]
    with pytest.raises(PlanInvalid) as refused:
        check_draft(a_draft(currency="XYZ"), products=PRODUCTS, meters=METERS, found=found)  # type: ignore[arg-type]
    assert [fault["pointer"] for fault in refused.value.errors] == ["/prices/0/product", "/currency"]

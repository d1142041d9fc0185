"""Phases, trials, commitments and feature grants: each with the faults that it may have."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from libs.common.errors import InputError
from libs.common.periods import Interval
from services.catalog.domain.commitment import COMMITMENTS_MAX, Commitment, commitment_faults
from services.catalog.domain.feature import Feature, FeatureDetails, FeatureKind
from services.catalog.domain.feature_grant import GRANTS_MAX, FeatureGrant, grant_faults
from services.catalog.domain.phase import PHASES_MAX, Phase, phase_faults
from services.catalog.domain.price import Price
from services.catalog.domain.trial import Trial, trial_faults
from tests.support.catalog import MONTHLY, NOW, a_fee, a_usage_price

ONE = Decimal(1)


def pointers(faults: list[InputError]) -> tuple[str, ...]:
    assert all(": " in fault["detail"] for fault in faults), faults
    return tuple(fault["pointer"] for fault in faults)


@pytest.mark.parametrize(
    ("phases", "faults"),
    [
        ((), ()),
        ((Phase("all", "All", None),), ()),
        ((Phase("ramp", "Ramp", 3), Phase("then", "Then")), ()),
        ((Phase("ramp", "Ramp"), Phase("then", "Then")), ("/0/periods",)),
        ((Phase("ramp", "Ramp", 3), Phase("then", "Then", 9)), ("/1/periods",)),
        ((Phase("ramp", "Ramp", 0), Phase("then", "Then")), ("/0/periods",)),
        ((Phase("ramp", "Ramp", 1_201), Phase("then", "Then")), ("/0/periods",)),
        ((Phase("ramp", "Ramp", 3), Phase("ramp", "Then")), ("/1/code",)),
        ((*(Phase(str(n), "x", 1) for n in range(PHASES_MAX)), Phase("last", "x")), ("",)),
    ],
    ids=["none", "one", "ramp", "endless", "ending", "empty", "too_long", "twice", "too_many"],
)
def test_phase_faults(phases: tuple[Phase, ...], faults: tuple[str, ...]) -> None:
    assert pointers(list(phase_faults(phases, ""))) == faults


@pytest.mark.parametrize(
    ("trial", "faults"),
    [
        (Trial(Interval("day", 14)), ()),
        (Trial(Interval("month", 1), ONE), ()),
        (Trial(Interval("month", 1), ONE, requires_payment_method=True), ()),
        (Trial(Interval("year", 1)), ("/interval/unit",)),
        (Trial(Interval("day", 367)), ("/interval/count",)),
        (Trial(Interval("day", 14), Decimal(0)), ("/amount",)),
        (Trial(Interval("day", 14), -ONE), ("/amount",)),
    ],
    ids=["free", "paid", "paid_with_method", "in_years", "too_long", "free_twice", "negative"],
)
def test_trial_faults(trial: Trial, faults: tuple[str, ...]) -> None:
    assert pointers(list(trial_faults(trial, ""))) == faults


class Case(NamedTuple):
    name: str
    commitment: Commitment
    faults: tuple[str, ...] = ()
    prices: tuple[Price, ...] = (
        a_fee(),
        a_usage_price(),
        a_usage_price(code="dear", currency="EUR", tax_behavior="inclusive"),
        a_usage_price(code="gross", currency="EUR", tax_behavior="exclusive"),
    )
    interval: Interval = MONTHLY


def least(**changes: Any) -> Commitment:
    terms = {"code": "c", "description": "", "currency": "USD", "minimum_amount": ONE}
    return Commitment(**{**terms, **changes})


CASES = [
    Case("whole_plan", least()),
    Case("one_price", least(price_codes=("minutes",))),
    Case("several_prices", least(price_codes=("minutes", "aircraft"))),
    Case("a_year", least(per="year")),
    Case("a_cap", least(minimum_amount=None, maximum_amount=ONE)),
    Case("both", least(maximum_amount=ONE)),
    Case("a_quantity", least(minimum_amount=None, minimum_quantity=ONE, price_codes=("aircraft",))),
    Case("nothing", least(minimum_amount=None), ("",)),
    Case("negative", least(minimum_amount=-ONE), ("/minimum_amount",)),
    Case("least_above_most", least(minimum_amount=Decimal(2), maximum_amount=ONE), ("/maximum_amount",)),
    Case("twice", least(minimum_quantity=ONE, price_codes=("aircraft",)), ("/minimum_quantity",)),
    Case("quantity_of_the_plan", least(minimum_amount=None, minimum_quantity=ONE), ("/price_codes",)),
    Case(
        "quantity_of_tiers",
        least(minimum_amount=None, minimum_quantity=ONE, price_codes=("minutes",)),
        ("/minimum_quantity",),
    ),
    Case("unknown_price", least(price_codes=("minutes", "other")), ("/price_codes/1",)),
    Case("price_twice", least(price_codes=("minutes", "minutes")), ("/price_codes/1",)),
    Case("other_currency", least(price_codes=("minutes", "dear")), ("/price_codes/1",)),
    Case("no_price_in_it", least(currency="CHF"), ("/currency",)),
    Case("tax_in_some", least(currency="EUR"), ("/price_codes",)),
    Case("tax_in_one", least(currency="EUR", price_codes=("dear",))),
    Case("odd_year", least(per="year"), ("/per",), interval=Interval("month", 5)),
    Case("weeks_of_a_year", least(per="year"), ("/per",), interval=Interval("week", 1)),
    Case("quarters_of_a_year", least(per="year"), interval=Interval("month", 3)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_commitment_faults(case: Case) -> None:
    found = list(commitment_faults([case.commitment], case.prices, case.interval, ""))
    assert pointers(found) == tuple(f"/0{pointer}" for pointer in case.faults)


def test_commitments_have_codes_of_their_own_and_are_not_too_many() -> None:
    twice = [least(), least()]
    assert pointers(list(commitment_faults(twice, [a_fee()], MONTHLY, ""))) == ("/1/code",)
    many = [least(code=str(n)) for n in range(COMMITMENTS_MAX + 1)]
    assert pointers(list(commitment_faults(many, [a_fee()], MONTHLY, "/c"))) == ("/c",)


def a_feature(kind: FeatureKind, **changes: Any) -> Feature:
    details = FeatureDetails(name=kind, unit=None, description="", metadata={})
    return Feature(
        id=f"ftr_{kind}",
        code=kind,
        kind=kind,
        meter=None,
        details=details,
        version=1,
        created_at=NOW,
        **changes,
    )


def granted(kind: FeatureKind, **terms: Any) -> FeatureGrant:
    return FeatureGrant(feature_id=f"ftr_{kind}", code=kind, kind=kind, **terms)


@pytest.mark.parametrize(
    ("grant", "faults"),
    [
        (granted("switch"), ()),
        (granted("switch", limit=ONE, allowance=ONE), ("/0/limit", "/0/allowance")),
        (granted("switch", overage_allowed=True, interval=MONTHLY), ("/0/overage_allowed", "/0/interval")),
        (granted("limit", limit=Decimal(0)), ()),
        (granted("limit"), ("/0/limit",)),
        (granted("limit", limit=-ONE), ("/0/limit",)),
        (granted("limit", limit=ONE, allowance=ONE), ("/0/allowance",)),
        (granted("metered", allowance=ONE, overage_allowed=True, interval=MONTHLY), ()),
        (granted("metered"), ("/0/allowance",)),
        (granted("metered", allowance=ONE, limit=ONE), ("/0/limit",)),
        (granted("metered", allowance=ONE, interval=Interval("day", 400)), ("/0/interval/count",)),
    ],
)
def test_grant_faults(grant: FeatureGrant, faults: tuple[str, ...]) -> None:
    features = {feature.id: feature for feature in map(a_feature, ("switch", "limit", "metered"))}
    assert pointers(list(grant_faults([grant], features, ""))) == faults


def test_a_feature_is_granted_once_and_not_when_it_is_archived() -> None:
    features = {"ftr_switch": a_feature("switch", archived_at=NOW)}
    found = list(grant_faults([granted("switch"), granted("switch")], features, "/features"))
    assert pointers(found) == ("/features/0/feature", "/features/1/feature", "/features/1/feature")


def test_there_is_a_bound_on_grants() -> None:
    kinds = [granted("switch")] * (GRANTS_MAX + 1)
    assert pointers(list(grant_faults(kinds, {}, "/features"))) == ("/features",)

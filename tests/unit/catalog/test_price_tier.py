"""Tiers: in rising order, and open-ended at the end."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import pytest

from services.catalog.domain.price_tier import TIERS_MAX, PriceTier, tier_faults


class Case(NamedTuple):
    name: str
    ends: tuple[str | None, ...]
    amount: str
    faults: tuple[str, ...]


CASES = [
    #    name                             ends                    amount   where something is wrong
    Case("one_open_tier",                 (None,),                "1",     ()),
    Case("three_rising_tiers",            ("100", "500", None),   "1",     ()),
    Case("free_tier",                     ("100", None),          "0",     ()),
    Case("end_finer_than_a_unit",         ("0.5", None),          "1",     ()),
    Case("no_tiers",                      (),                     "1",     ("/tiers",)),
    Case("last_tier_ends",                ("100", "500"),         "1",     ("/tiers/1/up_to",)),
    Case("open_tier_in_the_middle",       ("100", None, None),    "1",     ("/tiers/1/up_to",)),
    Case("ends_where_the_last_ended",     ("100", "100", None),   "1",     ("/tiers/1/up_to",)),
    Case("falling_tiers",                 ("500", "100", None),   "1",     ("/tiers/1/up_to",)),
    Case("falls_behind_two_before",       ("500", "600", "550", None), "1", ("/tiers/2/up_to",)),
    Case("ends_at_zero",                  ("0", None),            "1",     ("/tiers/0/up_to",)),
    Case("ends_below_zero",               ("-1", None),           "1",     ("/tiers/0/up_to",)),
    Case("negative_amount",               (None,),                "-1",    ("/tiers/0/unit_amount",)),
    Case("twelve_decimals",               (None,),                "0.000000000001",  ()),
    Case("thirteen_decimals",             (None,),                "0.0000000000001", ("/tiers/0/unit_amount",)),
    Case("all_faults_at_once",            ("500", "100"),         "-1",
         ("/tiers/0/unit_amount", "/tiers/1/unit_amount", "/tiers/1/up_to", "/tiers/1/up_to")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tier_faults(case: Case) -> None:
    tiers = [PriceTier(None if end is None else Decimal(end), Decimal(case.amount)) for end in case.ends]
    assert tuple(fault["pointer"] for fault in tier_faults(tiers, "/tiers")) == case.faults


def test_a_flat_amount_is_looked_at_too() -> None:
    tiers = [PriceTier(None, Decimal(1), flat_amount=Decimal(-5))]
    assert [fault["pointer"] for fault in tier_faults(tiers, "")] == ["/0/flat_amount"]


class Part(NamedTuple):
    name: str
    tier: PriceTier
    in_percent: bool
    faults: tuple[str, ...]


ONE = Decimal(1)
PARTS = [
    Part("capped", PriceTier(None, ONE, cap_amount=ONE), False, ()),
    Part("capped_at_its_flat_amount", PriceTier(None, ONE, ONE, cap_amount=ONE), False, ()),
    Part(
        "flat_amount_above_the_cap",
        PriceTier(None, ONE, Decimal(2), cap_amount=ONE),
        False,
        ("/0/cap_amount",),
    ),
    Part("negative_cap", PriceTier(None, ONE, cap_amount=-ONE), False, ("/0/cap_amount",)),
    Part("no_amount", PriceTier(None), False, ("/0/unit_amount",)),
    Part("flat_amount_only", PriceTier(None, flat_amount=ONE), False, ("/0/unit_amount",)),
    Part("rate", PriceTier(None, rate_percent=ONE), True, ()),
    Part("rate_and_flat_amount", PriceTier(None, rate_percent=ONE, flat_amount=ONE), True, ()),
    Part("no_rate", PriceTier(None), True, ("/0/rate_percent",)),
    Part("rate_and_amount", PriceTier(None, ONE, rate_percent=ONE), True, ("/0/unit_amount",)),
    Part("rate_among_units", PriceTier(None, ONE, rate_percent=ONE), False, ("/0/rate_percent",)),
    Part("rate_of_more_than_all", PriceTier(None, rate_percent=Decimal(101)), True, ("/0/rate_percent",)),
    Part("negative_rate", PriceTier(None, rate_percent=-ONE), True, ("/0/rate_percent",)),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_what_a_tier_costs(part: Part) -> None:
    faults = list(tier_faults([part.tier], "", in_percent=part.in_percent))
    assert tuple(fault["pointer"] for fault in faults) == part.faults
    assert all(": " in fault["detail"] for fault in faults)


def test_there_is_a_bound_on_tiers() -> None:
    rising = [PriceTier(Decimal(end), Decimal(1)) for end in range(1, TIERS_MAX)]
    last = PriceTier(None, Decimal(1))
    assert not list(tier_faults([*rising, last], "/tiers"))
    one_more = PriceTier(Decimal(TIERS_MAX), Decimal(1))
    assert [f["pointer"] for f in tier_faults([*rising, one_more, last], "/tiers")] == ["/tiers"]


def test_a_fault_says_what_to_do() -> None:
    tiers = [
        PriceTier(Decimal(500), Decimal(1)),
        PriceTier(Decimal(100), Decimal(1)),
        PriceTier(None, Decimal(1)),
    ]
    (fault,) = tier_faults(tiers, "/tiers")
    assert fault["detail"] == "a tier must end above 500, where it begins: put the tiers in rising order"

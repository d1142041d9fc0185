"""What is owed at a boundary: derived from the agreement and the usage, with an identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import Money
from libs.common.periods import MICROSECOND
from services.billing.domain.charge import (
    Charge,
    ChargeKind,
    UsageOfUnknownItem,
    charge_id,
    missing,
    rated_lines,
)
from services.billing.domain.usage_charges import usage_charges
from tests.support.billing import FEE, Story

NOW = datetime(2025, 2, 1, 5, tzinfo=UTC)
FEBRUARY = 1  # the period's index


class Case(NamedTuple):
    name: str
    quantity: str
    ends_on: str | None
    proration: str
    part: tuple[int, int] | None
    amount: int
    service_end_on: str


CASES = [
    #    name                  quantity  ends_on        proration part      amount   service ends
    Case("whole_month",         "2",     None,          "day",    (1, 1),   240000, "2025-03-01"),
    Case("ends_with_the_month", "2",     "2025-03-01",  "day",    (1, 1),   240000, "2025-03-01"),
    Case("ends_later",          "2",     "2025-07-09",  "day",    (1, 1),   240000, "2025-03-01"),
    Case("ends_inside",         "2",     "2025-02-11",  "day",    (10, 28),  85714, "2025-02-11"),
    Case("one_day",             "2",     "2025-02-02",  "day",    (1, 28),    8571, "2025-02-02"),
    Case("ends_as_it_begins",   "2",     "2025-02-01",  "day",    None,          0, ""),
    Case("ended_before",        "2",     "2025-01-15",  "day",    None,          0, ""),
    Case("part_costs_all",      "2",     "2025-02-11",  "full",   (1, 1),   240000, "2025-02-11"),
    Case("part_costs_nothing",  "2",     "2025-02-11",  "none",   None,          0, ""),
    Case("all_costs_all",       "2",     "2025-03-01",  "none",   (1, 1),   240000, "2025-03-01"),
    Case("none_of_it",          "0",     None,          "day",    (1, 1),        0, "2025-03-01"),
    Case("half_of_one",         "0.5",   None,          "day",    (1, 1),    60000, "2025-03-01"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_owed_for_the_period_ahead(case: Case) -> None:
    ends_on = None if case.ends_on is None else date.fromisoformat(case.ends_on)
    fee = FEE.model_copy(update={"proration": case.proration})
    story = Story(quantity=case.quantity, ends_on=ends_on, fee=fee)
    charges = story.ahead(FEBRUARY, now=NOW)
    if case.part is None:
        assert charges == []
        return
    (charge,) = charges
    assert (charge.fraction, charge.amount) == (Fraction(*case.part), Money(case.amount, "USD"))
    assert charge.service_start_on == date(2025, 2, 1)
    assert charge.service_end_on == date.fromisoformat(case.service_end_on)
    assert charge.identity == f"{story.fee_item}/prc_fee/1/advance/0"


def test_an_end_within_a_day_leaves_that_day_out() -> None:
    story = Story()
    story.ends_at = datetime(2025, 2, 11, 23, 30, tzinfo=UTC)  # still the 11th in New York
    (charge,) = story.ahead(FEBRUARY, now=NOW)
    assert (charge.fraction, charge.service_end_on) == (Fraction(10, 28), date(2025, 2, 11))
    assert charge.service_end == story.ends_at


def test_usage_is_not_charged_in_advance() -> None:
    story = Story(quantity=None)
    assert story.ahead(FEBRUARY, now=NOW) == []


def test_what_is_charged_in_arrears_is_not_charged_ahead() -> None:
    story = Story(fee=FEE.model_copy(update={"timing": "arrears"}))
    assert story.ahead(FEBRUARY, now=NOW) == []


USAGE = [
    # minutes        minor units
    ("0",                   0),
    ("0.001",               1),
    ("100000",      520000_00),
    ("100000.5",    520002_38),
    ("500000",     2420000_00),
    ("500001",     2420004_35),
]  # fmt: skip


@pytest.mark.parametrize(("minutes", "amount"), USAGE)
def test_what_is_owed_for_the_usage_behind(minutes: str, amount: int) -> None:
    story = Story()
    (charge,) = usage_charges(story.agreement(), story.usage(0, minutes), now=NOW)
    assert (charge.amount, charge.quantity) == (Money(amount, "USD"), Decimal(minutes))
    assert (charge.service_start_on, charge.service_end_on) == (date(2025, 1, 1), date(2025, 2, 1))
    assert (charge.kind, charge.period_index, charge.event_count) == ("usage", 0, 1)
    assert charge.usage_window_id == story.usage(0, minutes).window_id


def test_tiers_of_a_cut_window_start_anew_and_are_whole() -> None:
    story = Story()
    at = story.boundary(0) + timedelta(days=3, hours=4)
    (charge,) = usage_charges(story.agreement(), story.usage(0, "100001", at), now=NOW)
    assert (charge.amount, charge.fraction) == (Money(520004_75, "USD"), 1)
    assert charge.service_end_on == date(2025, 1, 4)


def test_an_item_of_which_the_window_does_not_tell_was_not_used() -> None:
    story = Story()
    usage = replace(story.usage(0, "5"), totals=())
    (charge,) = usage_charges(story.agreement(), usage, now=NOW)
    assert (charge.quantity, charge.event_count, charge.amount.amount_minor) == (0, 0, 0)


def test_usage_of_an_item_that_is_not_agreed_is_refused() -> None:
    story, other = Story(), Story()
    with pytest.raises(UsageOfUnknownItem):
        usage_charges(story.agreement(), other.usage(0, "5"), now=NOW)


def test_only_what_is_not_recorded_is_missing() -> None:
    story = Story()
    (charge,) = story.ahead(FEBRUARY, now=NOW)
    assert missing([charge], []) == [charge]
    assert missing([charge], [charge.id, "chg_other"]) == []


class Identity(NamedTuple):
    item_id: str
    price_id: str
    period_index: int
    kind: ChargeKind
    revision: int


IDENTITY = Identity("itm_1", "prc_1", 3, "advance", 0)


@pytest.mark.parametrize(
    "other",
    [
        IDENTITY._replace(item_id="itm_2"),
        IDENTITY._replace(price_id="prc_2"),
        IDENTITY._replace(period_index=4),
        IDENTITY._replace(kind="usage"),
        IDENTITY._replace(revision=1),
    ],
    ids=Identity._fields,
)
def test_a_charge_is_another_when_any_part_of_its_identity_is(other: Identity) -> None:
    assert charge_id(*IDENTITY) == charge_id(*IDENTITY)
    assert charge_id(*IDENTITY) != charge_id(*other)


quantities = st.decimals(0, 10**9, places=6, allow_nan=False)
cuts = st.integers(0, 60 * 24 * 31).map(lambda minutes: timedelta(minutes=minutes))


def derive(story: Story, minutes: Decimal, now: datetime) -> list[Charge]:
    agreement = story.agreement()
    return [
        *story.ahead(FEBRUARY, now=now),
        *usage_charges(agreement, story.usage(0, str(minutes)), now=now),
    ]


@given(quantity=quantities, minutes=quantities, cut=cuts)
def test_deriving_again_gives_the_same_charges(quantity: Decimal, minutes: Decimal, cut: timedelta) -> None:
    """Whenever it is done: the identity and the amount do not depend on now."""
    story = Story(quantity=str(quantity))
    story.ends_at = story.boundary(FEBRUARY) + cut
    first, again = derive(story, minutes, NOW), derive(story, minutes, NOW + timedelta(days=9))
    assert [charge.id for charge in first] == [charge.id for charge in again]
    assert [charge.amount for charge in first] == [charge.amount for charge in again]
    assert missing(again, [charge.id for charge in first]) == []


@given(quantity=quantities, minutes=quantities, cut=cuts)
def test_a_charge_is_the_sum_of_its_lines_however_often_it_is_rated(
    quantity: Decimal, minutes: Decimal, cut: timedelta
) -> None:
    story = Story(quantity=str(quantity))
    story.ends_at = story.boundary(FEBRUARY) + cut
    for charge in derive(story, minutes, NOW):
        lines = rated_lines(charge)
        assert sum(line.amount.amount_minor for line in lines) == charge.amount.amount_minor
        assert rated_lines(charge) == lines


@given(cut=cuts)
def test_a_period_that_is_cut_never_costs_more(cut: timedelta) -> None:
    story = Story()
    whole = story.ahead(FEBRUARY, now=NOW)
    story.ends_at = story.boundary(FEBRUARY) + cut + MICROSECOND
    part = story.ahead(FEBRUARY, now=NOW)
    amounts = [sum(charge.amount.amount_minor for charge in charges) for charges in (part, whole)]
    assert 0 <= amounts[0] <= amounts[1]

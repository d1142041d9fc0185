"""What changes between two contents of a plan, in words and numbers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given

from libs.common.periods import Interval
from services.catalog.domain.commitment import Commitment
from services.catalog.domain.document import document_of
from services.catalog.domain.dunning import Dunning
from services.catalog.domain.feature_grant import FeatureGrant
from services.catalog.domain.late_usage import LateUsage
from services.catalog.domain.phase import Phase
from services.catalog.domain.plan_diff import in_words, plan_changes, validity_changes
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.price import Price
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.sale import ALWAYS, Validity
from services.catalog.domain.trial import Trial
from tests.support.catalog import NOW, TIERS, a_draft, a_fee, a_usage_price
from tests.unit.catalog.test_document import drafts, prices

FEE, MINUTES = a_fee(), a_usage_price()
CHEAPER = (replace(TIERS[0], unit_amount=Decimal("4.90"), flat_amount=Decimal(5)), *TIERS[1:])
LEAST = Commitment("least", "At least", "USD", ("minutes",), minimum_amount=Decimal(100))
SEATS = FeatureGrant("ftr_1", "seats", "limit", Decimal(5))


class Case(NamedTuple):
    name: str
    before: PlanDraft
    after: PlanDraft
    pointers: tuple[str, ...]
    words: str


CASES = [
    Case("nothing", a_draft(), a_draft(), (), "Nothing changes."),
    Case(
        "another_spelling",
        a_draft(a_fee(unit_amount=Decimal("1.0"))),
        a_draft(a_fee(unit_amount=Decimal(1))),
        (),
        "Nothing changes.",
    ),
    Case(
        "amount",
        a_draft(FEE),
        a_draft(a_fee(unit_amount=Decimal(1300))),
        ("/prices/0/unit_amount",),
        "The price aircraft in USD: the unit amount goes from 1200 to 1300, 8.33 % more.",
    ),
    Case(
        "amount_from_nothing",
        a_draft(a_fee(unit_amount=Decimal(0))),
        a_draft(a_fee(unit_amount=Decimal("0.5"))),
        ("/prices/0/unit_amount",),
        "The price aircraft in USD: the unit amount goes from 0 to 0.5.",
    ),
    Case(
        "amount_beyond_all_measure",
        a_draft(a_fee(unit_amount=Decimal("1E-12"))),
        a_draft(a_fee(unit_amount=Decimal("1E+17"))),
        ("/prices/0/unit_amount",),
        "The price aircraft in USD: the unit amount goes from 0.000000000001 to 100000000000000000.",
    ),
    Case(
        "tier",
        a_draft(MINUTES),
        a_draft(a_usage_price(tiers=CHEAPER)),
        ("/prices/0/tiers/0/unit_amount", "/prices/0/tiers/0/flat_amount"),
        "The price minutes in USD: the unit amount of tier 1 up to 100000 goes from 5.2 to 4.9, 5.77 % less; "
        "the flat amount of tier 1 up to 100000 is now 5, where there was none.",
    ),
    Case(
        "other_tiers",
        a_draft(MINUTES),
        a_draft(a_usage_price(tiers=(PriceTier(None, Decimal(4), cap_amount=Decimal(9)),))),
        ("/prices/0/tiers",),
        "The price minutes in USD: the tiers are now 4, at most 9; "
        "they were 5.2 up to 100000; 4.75 up to 500000; 4.35.",
    ),
    Case(
        "price_added_and_removed",
        a_draft(FEE, a_usage_price(code="old")),
        a_draft(FEE, replace(FEE, currency="EUR")),
        ("/prices/1", "/prices/1"),
        "The price aircraft in EUR: is new, recurring, per unit, 1200 per aircraft. "
        "The price old in USD: is no longer charged.",
    ),
    Case(
        "order",
        a_draft(FEE, MINUTES),
        a_draft(MINUTES, FEE),
        ("/prices",),
        "The prices stand in another order, minutes, aircraft.",
    ),
    Case(
        "own_fields",
        a_draft(),
        a_draft(
            name="Other", description="Words", interval=Interval("month", 3), trial=Trial(Interval("day", 14))
        ),
        ("/name", "/description", "/interval", "/trial"),
        "The name changes from Power by the minute to Other; the description is now Words, where there was none; "
        "the interval changes from 1 month to 3 months; "
        "the trial is now interval 14 days, where there was none.",
    ),
    Case(
        "parts_added",
        a_draft(),
        a_draft(phases=(Phase("ramp", "Ramp", 3),), commitments=(LEAST,), features=(SEATS,)),
        ("/phases/0", "/commitments/0", "/features/0"),
        "The phase ramp: is new, name Ramp, periods 3. The commitment least: is new, description At least, "
        "currency USD, price codes minutes, minimum amount 100. "
        "The feature seats: is new, kind limit, limit 5.",
    ),
    Case(
        "parts_changed_and_removed",
        a_draft(phases=(Phase("ramp", "Ramp", 3),), features=(SEATS,), trial=Trial(Interval("day", 14))),
        a_draft(features=(replace(SEATS, limit=Decimal(10)),)),
        ("/trial", "/phases/0", "/features/0/limit"),
        "The trial falls away, interval 14 days before. The phase ramp: falls away. "
        "The feature seats: the limit goes from 5 to 10, 100 % more.",
    ),
    Case(
        "late_usage",
        a_draft(late_usage=LateUsage("draft_only", 35)),
        a_draft(late_usage=LateUsage("note_at_once")),
        ("/late_usage/policy", "/late_usage/window_days"),
        "The policy of late usage changes from draft_only to note_at_once; "
        "the number of days of late usage falls away, 35 before.",
    ),
    Case(
        "dunning",
        a_draft(dunning=Dunning(reminder_days=(3,), end_after_days=60)),
        a_draft(dunning=Dunning(reminder_days=(3, 10), suspends=False)),
        ("/dunning/reminder_days", "/dunning/suspends", "/dunning/end_after_days"),
        "The reminder days of dunning changes from 3 to 3; 10; the suspends of dunning changes from yes to no; "
        "the end after days of dunning falls away, 60 before.",
    ),
    Case(
        "words_for_what_is_no_number",
        a_draft(a_fee(proration="day", charges_first_flat_at_zero=True)),
        a_draft(a_fee(proration="second", charges_first_flat_at_zero=False, interval=Interval("year", 1))),
        ("/prices/0/charges_first_flat_at_zero", "/prices/0/interval", "/prices/0/proration"),
        "The price aircraft in USD: the charge of the first flat amount for nothing changes from yes to no; "
        "the interval is now 1 year, where there was none; the proration changes from day to second.",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_plan_changes(case: Case) -> None:
    changes = plan_changes(case.before, case.after)
    assert tuple(change.pointer for change in changes) == case.pointers
    assert in_words(changes) == case.words


def test_a_change_says_what_was_and_what_is() -> None:
    (change,) = plan_changes(a_draft(FEE), a_draft(a_fee(unit_amount=Decimal(1300))))
    assert (change.price, change.what, change.before, change.after) == ("aircraft", "changed", "1200", "1300")
    assert change.sentence == (
        "the price aircraft in USD: the unit amount goes from 1200 to 1300, 8.33 % more"
    )
    (added,) = plan_changes(a_draft(FEE), a_draft(FEE, MINUTES))
    assert (added.what, added.before, added.after) == ("added", None, document_of(MINUTES))
    (removed,) = plan_changes(a_draft(FEE, MINUTES), a_draft(FEE))
    assert (removed.what, removed.before, removed.after) == ("removed", document_of(MINUTES), None)


def test_bounds_change_between_versions() -> None:
    (change,) = validity_changes(ALWAYS, Validity(NOW, None))
    assert change.pointer == "/valid_from"
    assert change.words == "the valid from is now 2025-06-01T12:00:00.000000+00:00, where there was none"


@given(one=prices, other=prices)
def test_prices_say_the_same_only_where_nothing_changes(one: Price, other: Price) -> None:
    other = replace(other, code=one.code, currency=one.currency)
    changes = plan_changes(a_draft(one), a_draft(other))
    assert (changes == ()) == (one == other)
    assert all(change.before != change.after for change in changes)


@given(one=drafts, other=drafts)
def test_plans_say_the_same_only_where_nothing_changes(one: PlanDraft, other: PlanDraft) -> None:
    """But for their parts, which are told apart by their codes."""
    bare = [replace(draft, prices=(), phases=(), commitments=(), features=()) for draft in (one, other)]
    assert (plan_changes(*bare) == ()) == (bare[0] == bare[1])

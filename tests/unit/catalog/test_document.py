"""What is stored comes back as it was, to the last decimal; what is left out says its default."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import Interval
from services.catalog.adapters.plan_json import (
    PRICE_COLUMNS,
    draft_from_json,
    draft_to_json,
    price_terms,
    version_terms,
)
from services.catalog.domain.commitment import Commitment
from services.catalog.domain.document import document_of
from services.catalog.domain.feature_grant import FeatureGrant
from services.catalog.domain.phase import Phase
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.plan_version import publish_as
from services.catalog.domain.price import MatrixCell, Price, Rollover
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.sale import ALWAYS, Validity
from services.catalog.domain.trial import Trial
from tests.support.catalog import MONTHLY, NOW, a_draft, a_fee, a_usage_price

amounts = st.decimals(min_value=0, max_value=10**18 - 1, places=12, allow_nan=False)
some = st.none() | amounts
words = st.text(max_size=20)
intervals = st.none() | st.builds(
    Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 9)
)
tiers = st.builds(PriceTier, some, some, some, some, some)
prices = st.builds(
    Price,
    code=words,
    product_id=words,
    description=words,
    kind=st.sampled_from(["recurring", "usage", "one_time"]),
    timing=st.sampled_from(["advance", "arrears"]),
    model=st.sampled_from(["flat", "matrix", "expression"]),
    currency=st.sampled_from(["USD", "EUR"]),
    unit_amount=some,
    tiers=st.lists(tiers, max_size=3).map(tuple),
    charges_first_flat_at_zero=st.booleans(),
    free_events=st.none() | st.integers(0, 9),
    dimensions=st.lists(words, max_size=2).map(tuple),
    cells=st.lists(st.builds(MatrixCell, st.tuples(words, words), amounts), max_size=2).map(tuple),
    expression=st.none() | words,
    included_quantity=amounts,
    allowance_interval=intervals,
    rollover=st.none() | st.builds(Rollover, some, st.integers(1, 9)),
    maximum_amount=some,
    interval=intervals,
    tax_behavior=st.sampled_from(["exclusive", "inclusive"]),
    phase=st.none() | words,
    meter=st.none() | words,
    proration=st.sampled_from(["none", "day", "second", "full"]),
)
drafts = st.builds(
    PlanDraft,
    name=words,
    currency=st.just("USD"),
    interval=st.just(MONTHLY),
    prices=st.lists(prices, max_size=3).map(tuple),
    description=words,
    kind=st.sampled_from(["base", "add_on"]),
    for_plans=st.lists(words, max_size=2).map(tuple),
    phases=st.lists(st.builds(Phase, words, words, st.none() | st.integers(1, 9)), max_size=2).map(tuple),
    trial=st.none() | st.builds(Trial, st.just(Interval("day", 14)), some, st.booleans()),
    commitments=st.lists(
        st.builds(Commitment, words, words, words, st.lists(words, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    features=st.lists(
        st.builds(FeatureGrant, words, words, st.sampled_from(["switch", "limit", "metered"]), some, some),
        max_size=2,
    ).map(tuple),
)


@given(draft=drafts)
def test_a_stored_draft_comes_back_with_the_same_digest(draft: PlanDraft) -> None:
    found = draft_from_json(json.loads(json.dumps(draft_to_json(draft))))
    assert found == draft
    published = publish_as("pln_1", "power", 1, draft, ALWAYS, NOW)
    assert publish_as("pln_1", "power", 1, found, ALWAYS, NOW).digest == published.digest


@given(draft=drafts, price=prices)
def test_columns_and_terms_together_are_the_whole(draft: PlanDraft, price: Price) -> None:
    columns = {name: getattr(price, name) for name in PRICE_COLUMNS}
    terms = version_terms(draft) | {
        "name": draft.name,
        "currency": draft.currency,
        "interval": {"unit": "month"},
        "prices": [{**price_terms(price), **columns}],
    }
    assert not set(price_terms(price)) & set(PRICE_COLUMNS)
    assert draft_from_json(json.loads(json.dumps(terms))) == replace(draft, prices=(price,))


def test_numbers_are_stored_as_text() -> None:
    stored = draft_to_json(a_draft(a_fee(unit_amount=Decimal("1E-12"))))
    assert stored["prices"][0]["unit_amount"] == "0.000000000001"


def test_what_is_as_by_default_is_left_out() -> None:
    assert draft_to_json(a_draft(a_usage_price(tiers=(PriceTier(None, Decimal(0)),)))) == {
        "name": "Power by the minute",
        "currency": "USD",
        "interval": {"unit": "month"},
        "prices": [
            {
                "code": "minutes",
                "product_id": "prd_engine",
                "description": "Flying minutes",
                "kind": "usage",
                "timing": "arrears",
                "model": "graduated",
                "currency": "USD",
                "tiers": [{"up_to": None, "unit_amount": "0"}],
                "meter": "flying-minutes",
                "unit": "minute",
            }
        ],
    }


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (Decimal("5.20"), "5.2"),
        (NOW.astimezone(timezone(timedelta(hours=2))), "2025-06-01T12:00:00.000000+00:00"),
        (Validity(None, NOW), {"valid_until": "2025-06-01T12:00:00.000000+00:00"}),
        (ALWAYS, {}),
        (("a", Decimal(1)), ["a", "1"]),
        ({"a": Decimal("1.0")}, {"a": "1"}),
        (True, True),
        (None, None),
    ],
)
def test_document_of(value: Any, document: Any) -> None:
    assert document_of(value) == document
    assert not isinstance(value, datetime) or document_of(value) == document_of(NOW)

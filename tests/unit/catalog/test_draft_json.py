"""A stored draft comes back as it was, to the last decimal."""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.adapters.draft_json import draft_from_json, draft_to_json
from services.catalog.domain.plan_version import publish_as
from services.catalog.domain.price import Price
from services.catalog.domain.price_tier import PriceTier
from tests.support.catalog import NOW, a_draft, a_fee, a_usage_price

amounts = st.decimals(min_value=0, max_value=10**18 - 1, places=12, allow_nan=False)
words = st.text(max_size=20)
tiers = st.lists(st.tuples(amounts, amounts, st.none() | amounts), max_size=4).map(
    lambda rows: tuple(PriceTier(up_to, unit, flat) for up_to, unit, flat in rows)
)
fees = st.builds(lambda amount, text: a_fee(unit_amount=amount, description=text), amounts, words)
usages = st.builds(
    lambda rows, last, included: a_usage_price(
        tiers=(*rows, PriceTier(None, last)), included_quantity=included
    ),
    tiers,
    amounts,
    amounts,
)


@given(prices=st.lists(fees | usages, min_size=1, max_size=4), name=words)
def test_a_stored_draft_comes_back_with_the_same_digest(prices: list[Price], name: str) -> None:
    draft = a_draft(*prices, name=name)
    stored = json.loads(json.dumps(draft_to_json(draft)))
    found = draft_from_json(stored)
    assert found == draft
    published = publish_as("pln_1", "power", 1, draft, NOW)
    assert publish_as("pln_1", "power", 1, found, NOW).digest == published.digest


def test_numbers_are_stored_as_text() -> None:
    stored = draft_to_json(a_draft(a_fee(unit_amount=Decimal("1E-12"))))
    assert stored["prices"][0]["unit_amount"] == "0.000000000001"

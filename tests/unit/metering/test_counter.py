from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.metering.domain.counter import (
    CounterRules,
    EstimateRules,
    InvalidCounter,
    counter_json,
    counter_rules_from,
    new_counter_rules,
)


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"register_digits": 0}, "/counter/register_digits"),
        ({"register_digits": 19}, "/counter/register_digits"),
        ({"decimals": -1}, "/counter/decimals"),
        ({"decimals": 13}, "/counter/decimals"),
        ({"rate_max": Decimal(0)}, "/counter/rate_max"),
        ({"estimate": EstimateRules(0, 1)}, "/counter/estimate"),
        ({"estimate": EstimateRules(3, 37)}, "/counter/estimate"),
    ],
)
def test_a_counter_that_cannot_be_is_refused(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidCounter) as refused:
        new_counter_rules(**given)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    "rules",
    [
        CounterRules(),
        new_counter_rules(
            register_digits=18,
            decimals=12,
            rate_max=Decimal("0.000000000001"),
            estimate=EstimateRules(36, 1),
            backwards="reset",
        ),
    ],
)
def test_a_counter_is_read_as_it_was_kept(rules: CounterRules) -> None:
    assert counter_rules_from(counter_json(rules)) == rules

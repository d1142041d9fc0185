"""What the catalog lets be sold, billing can rate: they share no code, but the contract between them."""

from __future__ import annotations

import pytest

from services.billing.application.snapshots import price_from
from services.billing.domain.rating.validate_price import validate_price
from services.catalog.application.plan_snapshot import plan_snapshot
from services.catalog.domain.plan_version import publish_as
from services.catalog.domain.price import Price
from services.catalog.domain.sale import ALWAYS
from tests.support.catalog import NOW, a_draft
from tests.unit.catalog.test_price_faults import CASES

SOLD = [case for case in CASES if not case.faults]


@pytest.mark.parametrize("price", [case.price for case in SOLD], ids=[case.name for case in SOLD])
def test_billing_finds_nothing_wrong_with_what_is_published(price: Price) -> None:
    version = publish_as("pln_1", "power", 1, a_draft(price), ALWAYS, NOW)
    (told,) = plan_snapshot(version).prices
    assert validate_price(price_from(told)) == ()


def test_every_model_is_among_them() -> None:
    models = {case.price.model for case in SOLD}
    assert len(models) == 11

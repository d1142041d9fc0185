"""The seller on an issued document: written again as it was found, whatever sellers have learnt to say since."""

from __future__ import annotations

from typing import Any

import pytest

from services.billing.adapters.party_mapping import seller_from_json, seller_to_json
from tests.support.billing import a_seller

OF_AN_EARLIER_RELEASE: dict[str, Any] = {
    "id": "sel_1",
    "code": "main",
    "name": "Engines Inc.",
    "country": "US",
    "number_prefix": "INV-",
    "payment_terms_days": 14,
    "is_default": True,
    "version": 1,
    "created_at": "2025-01-01T00:00:00+00:00",
    "address": None,
    "tax_number": None,
}


def test_a_seller_that_an_earlier_release_wrote_is_written_as_it_was() -> None:
    assert seller_to_json(seller_from_json(OF_AN_EARLIER_RELEASE)) == OF_AN_EARLIER_RELEASE


@pytest.mark.parametrize("changes", [{}, {"number_reset": "year", "footer": "x", "zero_invoices": "issue"}])
def test_a_seller_is_read_as_it_was_written(changes: dict[str, Any]) -> None:
    seller = a_seller(**changes)
    assert seller_from_json(seller_to_json(seller)) == seller

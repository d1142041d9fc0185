"""A product's details and its archival."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.catalog.domain.product import ProductArchived, archive, change_details, details_of
from tests.support.catalog import NOW, a_product


def test_changing_details_counts_a_version() -> None:
    product = a_product()
    changed = change_details(product, replace(details_of(product), name="Minutes aloft", unit=None))
    assert (changed.name, changed.unit, changed.version) == ("Minutes aloft", None, 2)
    assert (changed.id, changed.code, changed.kind) == (product.id, product.code, product.kind)


def test_the_same_details_change_nothing() -> None:
    product = a_product()
    assert change_details(product, details_of(product)) is product


def test_archiving_twice_archives_once() -> None:
    archived = archive(a_product(), NOW)
    assert (archived.archived, archived.archived_at, archived.version) == (True, NOW, 2)
    assert archive(archived, NOW) is archived


def test_an_archived_product_changes_no_more() -> None:
    archived = archive(a_product(), NOW)
    with pytest.raises(ProductArchived):
        change_details(archived, replace(details_of(archived), name="Other"))
    assert change_details(archived, details_of(archived)) is archived

"""A product's details and its archival."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.catalog.domain.product import (
    GtinInvalid,
    ProductArchived,
    archive,
    change_details,
    details_of,
    is_gtin,
)
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


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("96385074", True),  # GTIN-8
        ("036000291452", True),  # GTIN-12, a UPC
        ("4006381333931", True),  # GTIN-13, an EAN
        ("10614141000415", True),  # GTIN-14, a trade unit
        ("4006381333932", False),  # the check digit of another
        ("400638133393", False),  # without its check digit
        ("40063813339310", False),
        ("4006381-333931", False),
        (" 4006381333931", False),
        ("٤٠٠٦٣٨١٣٣٣٩٣١", False),
        ("", False),
        ("0", False),
    ],
)
def test_a_gtin_has_a_length_that_there_is_and_its_own_check_digit(number: str, expected: bool) -> None:
    assert is_gtin(number) is expected


def test_details_with_another_number_are_refused() -> None:
    details = details_of(a_product(gtin="4006381333931", tax_category="reduced"))
    assert (details.gtin, details.tax_category) == ("4006381333931", "reduced")
    with pytest.raises(GtinInvalid) as refused:
        replace(details, gtin="4006381333932")
    assert refused.value.pointer == "/gtin"

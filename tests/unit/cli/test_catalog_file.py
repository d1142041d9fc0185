"""A catalog file becomes the document that the catalog reads: exact numbers, and nothing guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from libs.cli.catalog_file import FLAGS, FREE, WHOLE, catalog_text, read_catalog_file
from libs.common.documents.read_document import DocumentUnreadable

ROOT = Path(__file__).resolve().parents[3]
OPENAPI = json.loads((ROOT / "docs" / "contracts" / "openapi-catalog.json").read_text(encoding="utf-8"))
DOCUMENT = "CatalogDocumentBody"

WRITTEN = """\
perennial_catalog: 1
products:
  - code: 42
    name: no
    gtin: 00012345600012
    metadata: {count: 3, publish: true, price: 3.20}
plans:
  - code: light
    publish: false
    interval: {unit: month, count: 3}
    prices:
      - {unit_amount: 3.20, included_quantity: 10, free_events: 7, unit: ~}
coupons:
"""


def file_of(folder: Path, text: str, name: str = "catalog.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_counted_is_a_whole_number_and_all_else_stays_text(tmp_path: Path) -> None:
    assert read_catalog_file(file_of(tmp_path, WRITTEN)).value == {
        "perennial_catalog": 1,
        "products": [
            {
                "code": "42",
                "name": "no",
                "gtin": "00012345600012",
                "metadata": {"count": "3", "publish": "true", "price": "3.20"},
            }
        ],
        "plans": [
            {
                "code": "light",
                "publish": False,
                "interval": {"unit": "month", "count": 3},
                "prices": [
                    {"unit_amount": "3.20", "included_quantity": "10", "free_events": 7, "unit": None}
                ],
            }
        ],
    }


@pytest.mark.parametrize("written", ["1.0", "1e3", "one", "0x1", "01", '"1"', "+1"])
def test_what_is_no_whole_number_is_left_to_the_catalog_to_refuse(tmp_path: Path, written: str) -> None:
    read = read_catalog_file(file_of(tmp_path, f"perennial_catalog: {written}"))
    assert read.value == {"perennial_catalog": written.strip('"')}


@pytest.mark.parametrize("written", ["yes", "True", "on", "1", '"true"'])
def test_only_true_and_false_are_true_or_false(tmp_path: Path, written: str) -> None:
    read = read_catalog_file(file_of(tmp_path, f"publish: {written}"))
    assert read.value == {"publish": written.strip('"')}


def test_the_same_in_json_is_read_the_same(tmp_path: Path) -> None:
    told = {"perennial_catalog": 1, "plans": [{"publish": True, "periods": 3, "unit_amount": "3.20"}]}
    as_json = json.dumps(told).replace('"3.20"', "3.20")
    assert read_catalog_file(file_of(tmp_path, as_json, "catalog.json")).value == told


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_written_is_read_again(tmp_path: Path, as_json: bool) -> None:
    document = read_catalog_file(file_of(tmp_path, WRITTEN)).value
    text = catalog_text(document, as_json=as_json)
    again = read_catalog_file(file_of(tmp_path, text, "again.json" if as_json else "again.yaml"))
    assert again.value == document


@pytest.mark.parametrize("text", ["- 1", "light", "3"])
def test_a_file_that_is_no_mapping_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(DocumentUnreadable) as caught:
        read_catalog_file(file_of(tmp_path, text))
    assert "perennial_catalog: 1" in caught.value.faults[0].detail


def test_the_catalog_takes_those_fields_for_whole_numbers_and_truths_and_no_others() -> None:
    """What the file's reader knows of the document is what the document's schema says."""
    kinds: dict[str, set[str]] = {"integer": set(), "boolean": set()}
    fields = list(fields_of({"$ref": f"#/components/schemas/{DOCUMENT}"}, set()))
    for name, schema in fields:
        for branch in schema.get("anyOf", [schema]):
            branch = branch.get("items", branch)
            if branch.get("type") in kinds or isinstance(branch.get("const"), int):
                kinds[branch.get("type", "integer")].add(name)
    assert (kinds["integer"], kinds["boolean"]) == (WHOLE, FLAGS)
    maps = {"additionalProperties", "patternProperties"}
    assert {name for name, schema in fields if maps & schema.keys()} == FREE


def fields_of(schema: Mapping[str, Any], seen: set[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every field of the document, however deep, with its schema."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name in seen:
            return
        seen.add(name)
        schema = OPENAPI["components"]["schemas"][name]
    for name, inner in schema.get("properties", {}).items():
        yield name, inner
        yield from fields_of(inner, seen)
    for inner in (*schema.get("anyOf", ()), schema.get("items", {})):
        if inner:
            yield from fields_of(inner, seen)

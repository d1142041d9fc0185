"""docs/catalog.md: every example in it can be imported as it stands, and together they show every field there is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.cli.catalog_file import read_catalog_file
from libs.cli.catalog_screen import lines_of
from libs.common.clock import SystemClock
from services.catalog.application.import_catalog import import_catalog
from services.catalog.entrypoints.catalog_bodies import CatalogDocumentBody, CatalogImportBody
from services.catalog.entrypoints.catalog_reading import read_document
from tests.support.catalog import MemoryCatalog

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "catalog.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def uow() -> MemoryCatalog:
    catalog = MemoryCatalog()
    catalog.products.by_id.clear()
    catalog.known_meters.by_code.clear()
    return catalog


def told(folder: Path) -> dict[str, Any]:
    """All blocks of the page as the one document that they are parts of."""
    document: dict[str, Any] = {}
    for position, block in enumerate(BLOCKS):
        path = folder / f"{position}.yaml"
        path.write_text(block, encoding="utf-8")
        for name, part in read_catalog_file(path).value.items():
            document[name] = document.get(name, []) + part if isinstance(part, list) else part
    return document


async def test_the_examples_make_a_catalog(uow: MemoryCatalog, tmp_path: Path) -> None:
    command = read_document(told(tmp_path), dry_run=True, prune=True)
    done = await import_catalog(command, uow=uow, clock=SystemClock())
    counted = Counter(thing.kind for thing in done.things)
    assert counted == {"meter": 7, "product": 3, "feature": 3, "plan": 7, "coupon": 2}


def test_every_field_is_shown(tmp_path: Path) -> None:
    shown = set(fields_in(told(tmp_path)))
    document = CatalogDocumentBody.model_json_schema()
    known = {name for body in document["$defs"].values() for name in body.get("properties", {})}
    assert known - shown == set()


def test_every_field_is_explained() -> None:
    text = re.sub(r"^```.*?^```$", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    explained = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", text))))
    document = CatalogDocumentBody.model_json_schema()
    own_name = {"name", "description", "values"}  # which say what they are
    known = {name for body in document["$defs"].values() for name in body.get("properties", {})}
    assert known - explained - own_name == set()


async def test_the_page_shows_what_the_command_says(uow: MemoryCatalog) -> None:
    document = read_catalog_file(ROOT / "examples" / "light-as-a-service.yaml").value
    command = read_document(document, dry_run=True, prune=False)
    done = await import_catalog(command, uow=uow, clock=SystemClock())
    plan = CatalogImportBody.from_domain(done).model_dump(mode="json")
    said = "\n".join(line.plain for line in lines_of(plan))
    assert f"```text\n{said}\n```" in PAGE.read_text(encoding="utf-8")


def fields_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from fields_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from fields_in(part)

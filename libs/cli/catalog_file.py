"""A catalog file, YAML or JSON ↔ the document that the catalog reads.

Every scalar comes as it was written. Numbers that are counted become whole numbers, switches true or false; all other
numbers stay text, as the API takes them, so that none is ever a float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from libs.common.documents.json_reading import read_json
from libs.common.documents.read_document import Bounds, DocumentUnreadable, Fault, Plain, ReadDocument
from libs.common.documents.yaml_reading import read_yaml
from libs.common.documents.yaml_writing import yaml_text

# What is a whole number, or true or false, in the document; a test compares these with the catalog's own schema.
WHOLE = frozenset(
    (
        "perennial_catalog",
        "count",
        "periods",
        "free_events",
        "stacking_order",
        "redemptions_max",
        "redemptions_per_customer_max",
        "window_days",
        "register_digits",
        "decimals",
        "in_a_row",
        "retry_days",
        "reminder_days",
        "suspend_after_days",
        "end_after_days",
    )
)
FLAGS = frozenset(
    (
        "publish",
        "charges_first_flat_at_zero",
        "overage_allowed",
        "requires_payment_method",
        "keeps",
        "by_day",
        "suspends",
        "writes_off",
    )
)
FREE = frozenset(("metadata", "filter"))  # whose keys are the tenant's own words

DEPTH_MAX = Bounds().depth_max

_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_TRUTHS: Mapping[str, bool] = {"true": True, "false": False}
_NULLS = frozenset(("", "~", "null"))


def read_catalog_file(path: Path) -> ReadDocument:
    """Raises: DocumentUnreadable, OSError."""
    content = path.read_bytes()
    read = read_json(content) if path.suffix == ".json" else read_yaml(content)
    if not isinstance(read.value, dict):
        raise DocumentUnreadable([Fault(1, "must be a mapping: begin with `perennial_catalog: 1`")])
    value = {name: part for name, part in _typed(read.value, "").items() if part is not None}
    return ReadDocument(value, read.lines)


def catalog_text(document: Mapping[str, Any], *, as_json: bool) -> str:
    if as_json:
        return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n"
    return yaml_text(document)


def _typed(value: Any, name: str, depth: int = 0) -> Any:
    """`name` is the field whose value it is, empty where that is none of the document's own."""
    if depth > DEPTH_MAX:
        raise DocumentUnreadable([Fault(None, f"is nested more than {DEPTH_MAX} levels deep")])
    if isinstance(value, dict):
        return {key: _typed(part, "" if name in FREE else key, depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [_typed(part, name, depth + 1) for part in value]
    if not isinstance(value, Plain):
        return value
    if value in _NULLS:
        return None
    if name in FLAGS:
        return _TRUTHS.get(value, str(value))
    if name in WHOLE and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return str(value)

"""JSON read to the letter: numbers are text as they were written, and a key stands once in an object."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from libs.common.documents.read_document import (
    Bounds,
    DocumentUnreadable,
    Fault,
    Plain,
    ReadDocument,
    text_of,
)
from libs.common.documents.yaml_reading import read_yaml


def read_json(content: bytes, bounds: Bounds = Bounds()) -> ReadDocument:
    """One document. Raises: DocumentUnreadable."""
    text = text_of(content, bounds)
    try:
        twice = _Once()
        value = json.loads(
            text, object_pairs_hook=twice, parse_int=Plain, parse_float=Plain, parse_constant=_refuse
        )
    except json.JSONDecodeError as error:
        raise DocumentUnreadable([Fault(error.lineno, f"is no JSON: {error.msg}")]) from None
    except RecursionError:
        raise DocumentUnreadable([Fault(None, "is nested too deeply")]) from None
    if twice.keys:
        raise DocumentUnreadable([Fault(None, told_twice(twice.keys))])
    return ReadDocument(value, _lines_of(content, bounds))


def keys_twice(content: bytes) -> list[str]:
    """Keys that stand twice in an object of good JSON, of which readers take the last: nobody meant that."""
    twice = _Once()
    json.loads(content, object_pairs_hook=twice)
    return sorted(twice.keys)


def told_twice(keys: Iterable[str]) -> str:
    return f"in one object, these keys stand twice: {', '.join(sorted(keys))}: leave one of the two out"


class _Once:
    """Makes objects, and keeps the keys that stood in one of them more than once."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) < len(pairs):
            self.keys |= {key for key, count in Counter(key for key, _ in pairs).items() if count > 1}
        return read


def _refuse(constant: str) -> NoReturn:
    raise DocumentUnreadable([Fault(None, f"{constant} is no number of JSON")])


def _lines_of(content: bytes, bounds: Bounds) -> Mapping[str, int]:
    """Nearly all JSON is YAML as well, whose reader knows lines; what is not has none."""
    try:
        return read_yaml(content, bounds).lines
    except DocumentUnreadable:
        return {}

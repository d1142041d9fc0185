"""JSON pointers: what they find, and which are refused because Python and PostgreSQL would part ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.json_pointer import InvalidPointer, find, parse_pointer, to_pointer

DATA: Any = {"a": 1, "b": {"c": [10, {"d": 2}], "": 3, "x/y": 4, "~": 5}, "0": 6, "n": None}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", DATA),
        ("/a", 1),
        ("/b/c/0", 10),
        ("/b/c/1/d", 2),
        ("/b/c/2", None),
        ("/b/c/d", None),
        ("/b/", 3),
        ("/b/x~1y", 4),
        ("/b/~0", 5),
        ("/0", 6),
        ("/n", None),
        ("/n/m", None),
        ("/missing/deeper", None),
        ("/a/b", None),
    ],
)
def test_find(pointer: str, found: Any) -> None:
    assert find(DATA, parse_pointer(pointer)) == found


@pytest.mark.parametrize(
    "pointer", ["a", "/a~", "/a~2", "/-1", "/+1", "/01", "/ 1", "/a\0", "/" + "a" * 256, "/a" * 11]
)
def test_a_pointer_that_cannot_be_followed_alike_is_refused(pointer: str) -> None:
    with pytest.raises(InvalidPointer):
        parse_pointer(pointer)


steps = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8)


@given(st.lists(steps.filter(lambda step: not step.strip().lstrip("+-").isdigit()), max_size=5))
def test_a_path_survives_its_pointer(path: list[str]) -> None:
    assert parse_pointer(to_pointer(path)) == tuple(path)

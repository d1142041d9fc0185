"""YAML is read to the letter: nothing becomes a number or a truth by itself, and nothing is too much to read."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.documents.read_document import Bounds, DocumentUnreadable, Plain
from libs.common.documents.yaml_reading import read_yaml
from libs.common.documents.yaml_writing import yaml_text


class Scalar(NamedTuple):
    name: str
    written: str
    text: str
    is_plain: bool


SCALARS = [
    Scalar("a_price", "3.20", "3.20", True),
    Scalar("a_price_finer_than_a_float", "0.12345678901234567890", "0.12345678901234567890", True),
    Scalar("a_number_longer_than_a_float", "9007199254740993.1", "9007199254740993.1", True),
    Scalar("an_exponent", "1e3", "1e3", True),
    Scalar("underscores", "1_000", "1_000", True),
    Scalar("octal", "0o17", "0o17", True),
    Scalar("a_gtin_with_a_leading_zero", "00012345600012", "00012345600012", True),
    Scalar("sexagesimal", "1:30", "1:30", True),
    Scalar("an_infinity", ".inf", ".inf", True),
    Scalar("norway", "no", "no", True),
    Scalar("truth", "true", "true", True),
    Scalar("a_date", "2026-01-01", "2026-01-01", True),
    Scalar("nothing", "", "", True),
    Scalar("null", "~", "~", True),
    Scalar("in_quotes", '"3.20"', "3.20", False),
    Scalar("in_single_quotes", "'true'", "true", False),
    Scalar("a_block", "|\n  two\n  lines", "two\nlines", False),
]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: scalar.name)
def test_a_scalar_is_the_text_that_was_written(scalar: Scalar) -> None:
    value = read_yaml(f"a: {scalar.written}".encode()).value["a"]
    assert value == scalar.text
    assert isinstance(value, Plain) == scalar.is_plain


def test_each_part_is_told_where_it_stands() -> None:
    read = read_yaml(b"# light\na:\n  - b: 1\n    c/d: {e~f: 2}\n  - &x [3]\n  - *x\n")
    assert read.value == {"a": [{"b": "1", "c/d": {"e~f": "2"}}, ["3"], ["3"]]}
    assert read.lines == {
        "": 2,
        "/a": 2,
        "/a/0": 3,
        "/a/0/b": 3,
        "/a/0/c~1d": 4,
        "/a/0/c~1d/e~0f": 4,
        "/a/1": 5,
        "/a/1/0": 5,
        "/a/2": 6,
    }
    assert read.line_of("/a/0/missing/field") == 3
    assert read.line_of("/a/2/0") == 6  # what an alias stands for is told where the alias is
    assert read.line_of("/nothing") == 2


class Refused(NamedTuple):
    name: str
    content: bytes
    faults: list[tuple[int | None, str]]


REFUSED = [
    Refused("empty", b"# nothing\n", [(None, "is empty")]),
    Refused(
        "keys_that_stand_twice_are_all_told",
        b"a: 1\nb:\n  c: 1\n  c: 2\na: 2\n",
        [(4, "the key c stands on line 3 already"), (5, "the key a stands on line 1 already")],
    ),
    Refused("a_tag", b"a: !!python/object/apply:os.system [x]", [(1, "python/object/apply")]),
    Refused("a_harmless_tag", b"a: !!float 3.20", [(1, "leave it out")]),
    Refused("a_merge_key", b"a: &a {b: 1}\nc:\n  <<: *a\n", [(3, "write the fields out")]),
    Refused("two_documents", b"a: 1\n---\nb: 2\n", [(2, "more than one document")]),
    Refused("a_list_for_a_key", b"? [a]\n: 1\n", [(1, "a key must be text")]),
    Refused("an_alias_for_a_key", b"a: &a b\n*a : 1\n", [(2, "an alias cannot be a key")]),
    Refused("an_alias_of_nothing", b"a: *b\n", [(1, "*b")]),
    Refused("an_alias_of_what_holds_it", b"a: &a\n  - *a\n", [(2, "*a")]),
    Refused("a_bracket_too_few", b"a: [1\nb: 2\n", [(2, "is no YAML")]),
    Refused("a_tab", b"a:\n\tb: 1\n", [(2, "is no YAML")]),
    Refused("a_control_character", b"a: \x01\n", [(None, "is no YAML")]),
    Refused("another_encoding", "a: 1\nb: ü\n".encode("latin-1"), [(2, "is not UTF-8")]),
    Refused("too_deep", b"[" * 40, [(1, "more than 32 levels")]),
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.name)
def test_what_cannot_be_meant_is_refused_with_its_line(refused: Refused) -> None:
    with pytest.raises(DocumentUnreadable) as caught:
        read_yaml(refused.content)
    told = [(fault.line, fault.detail) for fault in caught.value.faults]
    assert [line for line, _ in told] == [line for line, _ in refused.faults]
    for (_, detail), (_, part) in zip(told, refused.faults, strict=True):
        assert part in detail


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    """A billion values by nine aliases each: they count as often as they stand for something."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    started = time.monotonic()
    with pytest.raises(DocumentUnreadable) as caught:
        read_yaml("\n".join(lines).encode())
    assert "more than 200000 values" in caught.value.faults[0].detail
    assert time.monotonic() - started < 5


BOUNDS = Bounds(bytes_max=20, depth_max=2, values_max=4)


@pytest.mark.parametrize(
    ("content", "is_read"),
    [
        (b"[1, 2, 3]", True),
        (b"[1, 2, 3, 4]", False),
        (b"[[1]]", True),
        (b"[[[1]]]", False),
        (b"[aaaaaaaaaaaaaaaaaa]", True),
        (b"[aaaaaaaaaaaaaaaaaaa]", False),
    ],
)
def test_each_bound_holds_exactly(content: bytes, is_read: bool) -> None:
    if is_read:
        read_yaml(content, BOUNDS)
    else:
        with pytest.raises(DocumentUnreadable):
            read_yaml(content, BOUNDS)


keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(
    lambda key: key != "<<"
)
letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from(
    " \n\t:#-'\"&*{}[],!|>%@`"
)
texts = st.text(letters, max_size=40) | st.lists(st.text("ab ,.", min_size=1), max_size=40).map(" ".join)
texts |= st.decimals(allow_nan=False, allow_infinity=False).map(str)
documents = st.dictionaries(
    keys,
    st.recursive(texts, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)),
    max_size=5,
)


@given(document=documents)
@settings(max_examples=150, deadline=None)
def test_what_was_written_is_read_again_to_the_letter(document: dict[str, Any]) -> None:
    text = yaml_text(document)
    assert read_yaml(text.encode()).value == document


def test_text_that_looks_like_something_else_is_written_in_quotes() -> None:
    """So that no other reader of YAML makes a float of it either."""
    told = yaml_text(
        {"a": ["3.20", "no", "true", "2026-01-01", "~", "", "desk"], "b": 3, "c": True, "d": None}
    )
    assert told == (
        "a:\n  - '3.20'\n  - 'no'\n  - 'true'\n  - '2026-01-01'\n  - '~'\n  - ''\n  - desk\nb: 3\nc: true\nd: null\n"
    )


def test_what_stands_twice_is_written_twice() -> None:
    tiers = [{"unit_amount": "1"}]
    assert "&" not in yaml_text({"a": tiers, "b": tiers})

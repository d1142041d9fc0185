"""JSON is read to the letter as well."""

from __future__ import annotations

import pytest

from libs.common.documents.json_reading import keys_twice, read_json
from libs.common.documents.read_document import DocumentUnreadable, Plain


def test_numbers_are_the_text_that_was_written_and_lines_are_known() -> None:
    read = read_json(b'{\n  "a": 3.20,\n  "b": ["3.20", 7, 1e400],\n  "c": true,\n  "d": null\n}')
    assert read.value == {"a": "3.20", "b": ["3.20", "7", "1e400"], "c": True, "d": None}
    assert isinstance(read.value["a"], Plain)
    assert not isinstance(read.value["b"][0], Plain)
    assert (read.line_of("/b/1"), read.line_of("/d")) == (3, 5)


def test_json_that_is_no_yaml_is_read_without_lines() -> None:
    read = read_json(b'{\n\t"a": "\\ud83d\\ude00"\n}')
    assert read.value == {"a": "\N{GRINNING FACE}"}
    assert read.line_of("/a") is None


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}', None, "stand twice: a, c"),
        (b'{\n"a": 1,\n}', 3, "is no JSON"),
        (b'{"a": NaN}', None, "NaN is no number"),
        (b"[" * 100_000, None, "nested too deeply"),
        (b"\xff", 1, "is not UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_refused(content: bytes, line: int | None, told: str) -> None:
    with pytest.raises(DocumentUnreadable) as caught:
        read_json(content)
    (fault,) = caught.value.faults
    assert fault.line == line
    assert told in fault.detail


def test_keys_that_stand_twice_are_found_wherever_they_stand() -> None:
    assert keys_twice(b'{"a": [{"b": 1}, {"b": 2}], "c": {"a": 1}}') == []
    assert keys_twice(b'{"a": [{"b": 1, "b": 2}], "a": 1}') == ["a", "b"]

"""YAML read to the letter: every scalar is text, so that no number becomes a float and no code a truth value.

Keys that stand twice, tags and merge keys are refused; anchors may be used, and what they unfold to is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from libs.common.documents.read_document import (
    Bounds,
    DocumentUnreadable,
    Fault,
    Plain,
    ReadDocument,
    text_of,
)

# The parser in C, where there is one: it tells the same events, many times as fast.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_yaml(content: bytes, bounds: Bounds = Bounds()) -> ReadDocument:
    """One document. Raises: DocumentUnreadable, with all faults that can be known at once."""
    reading = _Reading(bounds)
    try:
        for event in yaml.parse(text_of(content, bounds), Loader=_LOADER):
            reading.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(told for told in (error.context, error.problem) if told)
        reading.faults.append(Fault(mark.line + 1 if mark else None, f"is no YAML: {said}"))
    except yaml.YAMLError as error:
        reading.faults.append(Fault(None, f"is no YAML: {' '.join(str(error).split())}"))
    if not reading.faults and not reading.has_value:
        reading.faults.append(Fault(None, "is empty"))
    if reading.faults:
        raise DocumentUnreadable(reading.faults)
    return ReadDocument(reading.value, reading.lines)


@dataclass(slots=True)
class _Open:
    """A mapping or a sequence that has not ended. `key` is that of the next value."""

    value: dict[str, Any] | list[Any]
    pointer: str
    anchor: str | None
    count_before: int
    key: str | None = None


@dataclass(slots=True)
class _Anchored:
    """`count` is how many values it unfolds to."""

    value: Any
    count: int


class _Reading:
    """Event by event, without recursion: what is too deep or too much is refused before it is built."""

    def __init__(self, bounds: Bounds) -> None:
        self.value: Any = None
        self.has_value = False
        self.lines: dict[str, int] = {}
        self.faults: list[Fault] = []
        self._bounds = bounds
        self._open: list[_Open] = []
        self._anchored: dict[str, _Anchored | None] = {}  # None: has not ended
        self._count = 0

    def take(self, event: yaml.Event) -> None:
        """Raises: DocumentUnreadable, where going on could cost too much."""
        assert event.start_mark is not None, "the parser tells where each event begins"
        line = event.start_mark.line + 1
        match event:
            case yaml.ScalarEvent():
                self._take_scalar(event, line)
            case yaml.AliasEvent():
                self._take_alias(event, line)
            case yaml.MappingStartEvent():
                self._begin({}, event, line)
            case yaml.SequenceStartEvent():
                self._begin([], event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.DocumentStartEvent() if self.has_value:
                self._stop(line, "holds more than one document: make them several files")
            case _:
                pass

    def _take_scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        self._refuse_tag(event.tag, line)
        text = event.value if event.style else Plain(event.value)
        if self._awaits_key():
            self._take_key(text, line)
            return
        self._place(text, line)
        self._counted(1, line)
        if event.anchor:
            self._anchored[event.anchor] = _Anchored(text, 1)

    def _take_key(self, key: str, line: int) -> None:
        top = self._open[-1]
        if key == "<<" and isinstance(key, Plain):
            self.faults.append(Fault(line, "merge keys (<<) are no part of it: write the fields out"))
        elif key in top.value:
            first = self.lines[_below(top.pointer, key)]
            self.faults.append(
                Fault(line, f"the key {key} stands on line {first} already: leave one of the two out")
            )
        top.key = str(key)
        self.lines.setdefault(_below(top.pointer, key), line)

    def _take_alias(self, event: yaml.AliasEvent, line: int) -> None:
        if self._awaits_key():
            self._stop(line, "an alias cannot be a key: write it out")
        anchored = self._anchored.get(event.anchor or "")
        if anchored is None:
            self._stop(line, f"*{event.anchor} stands for something that holds it, or for nothing")
        self._place(anchored.value, line)
        self._counted(anchored.count, line)

    def _begin(
        self,
        value: dict[str, Any] | list[Any],
        event: yaml.MappingStartEvent | yaml.SequenceStartEvent,
        line: int,
    ) -> None:
        self._refuse_tag(event.tag, line)
        if self._awaits_key():
            self._stop(line, "a key must be text")
        if len(self._open) >= self._bounds.depth_max:
            self._stop(line, f"is nested more than {self._bounds.depth_max} levels deep")
        pointer = self._place(value, line)
        if event.anchor:
            self._anchored[event.anchor] = None
        self._open.append(_Open(value, pointer, event.anchor, self._count))
        self._counted(1, line)

    def _end(self) -> None:
        ended = self._open.pop()
        if ended.anchor:
            self._anchored[ended.anchor] = _Anchored(ended.value, self._count - ended.count_before)

    def _place(self, value: Any, line: int) -> str:
        """Put it where it belongs, and say where that is."""
        if not self._open:
            self.value, self.has_value = value, True
            self.lines[""] = line
            return ""
        top = self._open[-1]
        if isinstance(top.value, list):
            pointer = f"{top.pointer}/{len(top.value)}"
            top.value.append(value)
            self.lines[pointer] = line
        else:
            assert top.key is not None, "a key comes before its value"
            pointer = _below(top.pointer, top.key)
            top.value[top.key] = value
            top.key = None
        return pointer

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _counted(self, count: int, line: int) -> None:
        self._count += count
        if self._count > self._bounds.values_max:
            self._stop(line, f"holds more than {self._bounds.values_max} values: make it several files")

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None:
            self.faults.append(Fault(line, f"the tag {tag} is no part of it: leave it out"))

    def _stop(self, line: int, detail: str) -> NoReturn:
        raise DocumentUnreadable([*self.faults, Fault(line, detail)])


def _below(pointer: str, key: str) -> str:
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"

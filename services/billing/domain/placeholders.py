"""Texts in which values are named, `Dear {{customer}}`: a text of a tenant can name values, and do nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_NAMED = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_BRACES = re.compile(r"\{\{|\}\}|\{%|%\}")


@dataclass(frozen=True, slots=True)
class TextFault:
    """What is wrong with a text, in which of its lines, from 1."""

    line: int
    problem: str


def filled(text: str, names: Mapping[str, str]) -> str:
    """The text with its values. Values are not looked into: what they hold is text."""
    return _NAMED.sub(lambda match: names[match[1]], text)


def names_in(text: str) -> list[str]:
    """In their order."""
    return _NAMED.findall(text)


def faults_in(text: str, known: Collection[str]) -> list[TextFault]:
    """All that is wrong with it: values that there are not, and braces that name none."""
    found: list[TextFault] = []
    for number, line in enumerate(text.split("\n"), 1):
        for name in names_in(line):
            if name not in known:
                found.append(TextFault(number, f"{{{{{name}}}}} is no value of this mail"))
        if stray := _BRACES.search(_NAMED.sub("", line)):
            found.append(TextFault(number, f'"{stray[0]}" is not part of a value such as {{{{customer}}}}'))
    return found

"""Which groups of usage are asked for, as `dimension:value`: several of one dimension mean any of its values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from libs.common.errors import RuleViolation

GroupFilter = Mapping[str, Sequence[str | None]]
"""By the name of a dimension the values that are let in; None is an event without any."""

_HOW = 'Write dimension:value, such as carrier:AA; carrier: for events without one, carrier:"" for an empty text.'


class DimensionUnknown(RuleViolation):
    code: ClassVar[str] = "dimension_unknown"
    title: ClassVar[str] = "The meter has no such dimension"


class UsageFilterUnclear(RuleViolation):
    """What follows the colon, where it begins with a quote, is a JSON string."""

    code: ClassVar[str] = "usage_filter_unclear"
    title: ClassVar[str] = "A filter of usage cannot be read"


def read_filters(texts: Sequence[str], dimensions: Sequence[str]) -> dict[str, tuple[str | None, ...]]:
    """Where the name of a dimension holds a colon itself, the longest name that fits is meant.

    Raises: DimensionUnknown, UsageFilterUnclear.
    """
    found: dict[str, dict[str | None, None]] = {}
    for text in texts:
        name = max((name for name in dimensions if text.startswith(f"{name}:")), key=len, default=None)
        if name is None:
            told, colon, _ = text.partition(":")
            if not colon:
                raise UsageFilterUnclear("a filter has no colon", remedy=_HOW, filter=text[:100])
            raise unknown([told], dimensions)
        found.setdefault(name, {})[_value(text[len(name) + 1 :], text)] = None
    return {name: tuple(values) for name, values in found.items()}


def check_dimensions(names: Sequence[str], dimensions: Sequence[str]) -> None:
    """Raises: DimensionUnknown, for all at once."""
    missing = [name for name in names if name not in dimensions]
    if missing:
        raise unknown(missing, dimensions)


def unknown(names: Sequence[str], dimensions: Sequence[str]) -> DimensionUnknown:
    return DimensionUnknown(
        f"the meter has no dimension {', '.join(name[:100] for name in names[:5])}",
        dimensions=", ".join(dimensions),
        remedy="Take the dimensions that the meter was defined with.",
    )


def _value(told: str, text: str) -> str | None:
    if not told:
        return None
    if not told.startswith('"'):
        return told
    try:
        value = json.loads(told)
        value.encode()
    except (ValueError, AttributeError):
        raise UsageFilterUnclear(
            "what begins with a quote must be a JSON string", remedy=_HOW, filter=text[:100]
        ) from None
    assert isinstance(value, str), "what begins with a quote is a string, or no JSON"
    if "\0" in value:
        raise UsageFilterUnclear("no text of an event holds a NUL", remedy=_HOW, filter=text[:100])
    return value

"""The fields of a frozen dataclass by their names, for whoever keeps it in columns or as JSON."""

from __future__ import annotations

from typing import Any


def plain_fields(thing: Any) -> dict[str, Any]:
    """`asdict` would copy each value deeply, which takes ten times as long."""
    return {name: getattr(thing, name) for name in thing.__slots__}

"""JSON pointers (RFC 6901) to the fields of an event."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

STEPS_MAX = 10

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_STRAY_TILDE = re.compile(r"~(?![01])")

Path = tuple[str, ...]


def path_of(pointer: str) -> Path | None:
    """The steps of a pointer to a field; None when it is not one."""
    if not pointer.startswith("/") or pointer.count("/") > STEPS_MAX or _STRAY_TILDE.search(pointer):
        return None
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def find(data: Any, path: Path) -> Any:
    """What stands there; None where nothing does, or where null does."""
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, Sequence) and not isinstance(data, str) and _INDEX.fullmatch(step):
            data = data[int(step)] if int(step) < len(data) else None
        else:
            return None
    return data

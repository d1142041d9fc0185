"""The documents that the code makes now: dear, hence made once, and only if a test of this process asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from deploy.contracts import contracts


@cache
def documents() -> Mapping[str, Any]:
    """By file name."""
    return dict(contracts())

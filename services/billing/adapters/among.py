"""Many ids in one statement, whatever their number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, Column, ColumnElement, Text, any_, cast


def is_among(column: Column[Any], ids: Iterable[str]) -> ColumnElement[bool]:
    """One array however many ids: a statement has room for 32,767 parameters."""
    return column == any_(cast(sorted(ids), ARRAY(Text)))

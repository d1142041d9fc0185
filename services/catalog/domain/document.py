"""Frozen dataclasses as JSON documents: numbers as text in their one spelling, what equals its default left out.

Digests are taken of such documents: how a value is written here can never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.catalog.domain.amount import plain


def document_of(value: object) -> Any:
    """What JSON can hold of it. A field that is added later, with a default, changes no document made before."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, tuple):
        return [document_of(part) for part in value]
    if isinstance(value, Mapping):
        return {name: document_of(part) for name, part in value.items()}
    if is_dataclass(value):
        told = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: document_of(part) for field, part in told if part != field.default}
    return value

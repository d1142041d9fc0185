"""Which field of the caller's document an error is about, where the rule that was broken cannot know it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from libs.common.errors import DomainError


@contextmanager
def pointing_at(pointer: str) -> Iterator[None]:
    """Errors that leave the block point at this field, unless they know better."""
    try:
        yield
    except DomainError as error:
        error.pointer = error.pointer or pointer
        raise

"""Which field of the caller's document an error is about, where the rule that was broken cannot know it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from libs.common.errors import DomainError, InputError, InvalidInput


@contextmanager
def pointing_at(pointer: str) -> Iterator[None]:
    """Errors that leave the block point at this field, unless they know better."""
    try:
        yield
    except DomainError as error:
        error.pointer = error.pointer or pointer
        raise


@contextmanager
def inside(place: str) -> Iterator[None]:
    """What the block reads is a part of the caller's document: errors that leave it point into that part."""
    try:
        yield
    except DomainError as error:
        if error.pointer is not None:
            error.pointer = place + error.pointer
        if isinstance(error, InvalidInput):
            error.errors = tuple(
                InputError(pointer=place + one["pointer"], detail=one["detail"]) for one in error.errors
            )
        raise

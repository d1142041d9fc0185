"""Pages of a collection in the order of (created_at, id): where one starts, how long it is, where it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")
V = TypeVar("V")

PAGE_LENGTH = 50
PAGE_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two rows: just after the row with this instant and id."""

    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The next `limit` things after a position, oldest first, created within the half-open bounds.

    Oldest first keeps every page as it was while new things are added: they come after the last page, never
    into one that was read already.
    """

    limit: int = PAGE_LENGTH
    after: Position | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """One page. `next` is None on the last."""

    items: tuple[T, ...]
    next: Position | None = None

    def map(self, change: Callable[[T], V]) -> "Slice[V]":
        """The same page of other things: views to bodies."""
        return Slice(items=tuple(change(item) for item in self.items), next=self.next)

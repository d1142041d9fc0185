"""A unit of work in memory: stands in for the database in tests of use cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from libs.common.contracts.envelope import Event
from libs.common.errors import NotFound
from libs.common.paging import PageRequest, Position, Slice

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Appended:
    """One event in the outbox."""

    event: Event
    key: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of the change log."""

    action: str
    aggregate_id: str
    version: int


class MemoryOutbox:
    def __init__(self) -> None:
        self.appended: list[Appended] = []

    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None:
        self.appended.append(Appended(event, key, traceparent))

    @property
    def events(self) -> list[Event]:
        return [appended.event for appended in self.appended]


class MemoryRepository(Generic[T]):
    """Aggregates by id. Saving one that was not loaded for update, or added, is a mistake, as on the database."""

    def __init__(self, not_found: Callable[[str], NotFound]) -> None:
        self.by_id: dict[str, T] = {}
        self._locked: set[str] = set()
        self._not_found = not_found

    async def find(self, id: str) -> T | None:
        return self.by_id.get(id)

    async def get(self, id: str) -> T:
        found = await self.find(id)
        if found is None:
            raise self._not_found(id)
        return found

    async def load_for_update(self, ids: Iterable[str]) -> None:
        self._locked.update(ids)

    async def find_for_update(self, id: str) -> T | None:
        self._locked.add(id)
        return self.by_id.get(id)

    async def get_for_update(self, id: str) -> T:
        self._locked.add(id)
        return await self.get(id)

    def add(self, aggregate: T) -> None:
        id = self._id(aggregate)
        assert id not in self.by_id, f"{id} is there already"
        self._locked.add(id)
        self.by_id[id] = aggregate

    def save(self, aggregate: T) -> None:
        id = self._id(aggregate)
        assert id in self._locked, f"{id} was not locked before it was saved"
        self.by_id[id] = aggregate

    def page(self, page: PageRequest, wanted: Callable[[T], bool]) -> Slice[T]:
        """In the order of (created_at, id), as the database has it."""

        def position(aggregate: Any) -> tuple[datetime, str]:
            return aggregate.created_at, aggregate.id

        after = (page.after.created_at, page.after.id) if page.after else None
        chosen = [
            aggregate
            for aggregate in sorted(self.by_id.values(), key=position)
            if wanted(aggregate) and (after is None or position(aggregate) > after)
        ]
        shown = chosen[: page.limit]
        following = Position(*position(shown[-1])) if len(chosen) > page.limit else None
        return Slice(tuple(shown), following)

    def _id(self, aggregate: Any) -> str:
        id: str = aggregate.id
        return id


class MemoryUnitOfWork:
    """One tenant's transaction. A service's own adds its repositories."""

    def __init__(
        self, tenant: str = "0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47", actor: str = "token:test"
    ) -> None:
        self.tenant = tenant
        self.actor = actor
        self.outbox = MemoryOutbox()
        self.recorded: list[Recorded] = []

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None:
        self.recorded.append(Recorded(action, aggregate_id, version))

    async def flush(self) -> None:
        """Everything is where it belongs already."""

"""What was told of usage: facts with an identity, what was taken back or put right of them, and whose they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

Data = Mapping[str, Any]
Told = Literal["stored", "duplicate", "conflict"]


@dataclass(frozen=True)
class Fact:
    """Something that was used. `order` comes after the instant where the last of several is asked for."""

    source: str
    id: str
    subject: str
    at: datetime
    data: Data
    order: bytes = b""


@dataclass(frozen=True)
class Binding:
    """From when until before when usage of `subject` belongs to `item`."""

    id: str
    item: str
    subject: str
    start: datetime
    end: datetime | None = None


class History:
    """All that was told so far. The order in which it was told matters for one thing: the first fact of an id stays."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._first: dict[tuple[str, str], Fact] = {}
        self._now: dict[tuple[str, str], Fact | None] = {}
        self._revisions: dict[tuple[str, str], int] = {}
        self._bindings: dict[str, Binding] = {}

    def send(self, fact: Fact) -> Told:
        name = (fact.source, fact.id)
        if name in self._first:
            return "duplicate" if self._first[name] == fact else "conflict"
        self._first[name] = fact
        self._now[name] = self._ordered(fact)
        return "stored"

    def known(self) -> Sequence[Fact]:
        """All that was stored, each as it was sent first."""
        return list(self._first.values())

    def void(self, source: str, id: str) -> None:
        """It never was. Of what does not count, nothing can be taken back."""
        if self._now.get((source, id)) is not None:
            self._now[source, id] = None
            self._revise(source, id)

    def amend(self, fact: Fact) -> None:
        """It was this, and not what was said before, or taken back. To say the same once more is to say nothing."""
        standing = self._now.get((fact.source, fact.id))
        if standing is not None and replace(standing, order=b"") == fact:
            return
        self._revise(fact.source, fact.id)
        self._now[fact.source, fact.id] = self._ordered(fact)

    def bind(self, binding: Binding) -> None:
        self._bindings[binding.id] = binding

    def release(self, id: str, end: datetime) -> None:
        self._bindings[id] = replace(self._bindings[id], end=end)

    def facts(self) -> Sequence[Fact]:
        """What counts, in the order of time."""
        return sorted((f for f in self._now.values() if f is not None), key=lambda f: (f.at, f.order))

    def bindings(self) -> Sequence[Binding]:
        return list(self._bindings.values())

    def bindings_of(self, item: str) -> Sequence[Binding]:
        return [binding for binding in self._bindings.values() if binding.item == item]

    def _revise(self, source: str, id: str) -> None:
        self._revisions[source, id] = self._revisions.get((source, id), 0) + 1

    def _ordered(self, fact: Fact) -> Fact:
        """Facts of one instant stand in the order of the 16 bytes that their identity, or its revision, comes to."""
        parts = [self._tenant, fact.source, fact.id]
        if revision := self._revisions.get((fact.source, fact.id)):
            parts.append(str(revision))
        return replace(fact, order=blake2b("\0".join(parts).encode(), digest_size=16).digest())

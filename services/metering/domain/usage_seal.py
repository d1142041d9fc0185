"""Seals of closed windows: for each total, the root of a hash tree over the events behind it.

A leaf says of one event who sent it, when it happened, and what the meter took of it. Leaves stand in the order of time,
and at one instant of their keys. docs/proofs.md tells it to whoever wants to make the same root again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from json import JSONEncoder
from typing import Any, NamedTuple
from uuid import UUID

from libs.common.exact import text
from libs.common.ids import derived_id
from libs.common.merkle import EMPTY_ROOT, HASH_BYTES, Tree, leaf_hash, path_to, root_of
from services.metering.domain.usage_event import EPOCH, MICROSECOND

ALGORITHM = "perennial-events-1"
CHUNK_LEAVES = 1_024  # a power of two, so that a chunk is a subtree

_canonical = JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode

Leaf = Mapping[str, Any]


class LeafPlace(NamedTuple):
    """Where a leaf stands among others: `key` tells those of one instant apart."""

    at: datetime
    key: UUID


def leaf_of(
    place: LeafPlace,
    subject: str,
    *,
    source: str | None,
    event_id: str | None,
    event_type: str | None,
    group: Mapping[str, str | None],
    value: Decimal | None = None,
    member: str | None = None,
    is_in: bool = True,
    level: Decimal | None = None,
    seconds: Decimal | None = None,
    days: int | None = None,
    contribution: Decimal | None = None,
) -> dict[str, Any]:
    """What stands for an event in the tree; what an event does not have is left out. Numbers stand as text.

    The first step of a level, which was there before, has neither source, id nor type.
    """
    leaf: dict[str, Any] = {"key": place.key.hex, "subject": subject, "time": time_text(place.at)}
    if event_id is not None:
        leaf["id"], leaf["source"], leaf["type"] = event_id, source, event_type
    if group:
        leaf["group"] = dict(group)
    if value is not None:
        leaf["value"] = text(value)
    if member is not None:
        leaf["member"], leaf["operation"] = member, "add" if is_in else "remove"
    if level is not None:
        leaf["level"] = text(level)
    if seconds is not None:
        leaf["seconds"] = text(seconds)
    if days is not None:
        leaf["days"] = str(days)
    if contribution is not None:
        leaf["contribution"] = text(contribution)
    return leaf


def time_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def hash_of(leaf: Leaf) -> bytes:
    """Of the leaf as JSON: no blanks, names in the order of their characters, UTF-8."""
    return leaf_hash(_canonical(leaf).encode())


class Chunk(NamedTuple):
    """A subtree of `CHUNK_LEAVES` leaves (the last one may have fewer), and where the first of them stands."""

    first: LeafPlace
    root: bytes


class LeafTree:
    """The tree over the events of a total, as they are read. It keeps a root for each thousand of them."""

    __slots__ = ("_chunk", "_chunks", "_first")

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._chunk = Tree()
        self._first: LeafPlace | None = None

    def add(self, place: LeafPlace, hashed: bytes) -> None:
        if self._first is None:
            self._first = place
        self._chunk.add(hashed)
        if self._chunk.count == CHUNK_LEAVES:
            self._end_chunk()

    def _end_chunk(self) -> None:
        assert self._first is not None, "a chunk has a leaf"
        self._chunks.append(Chunk(self._first, self._chunk.root))
        self._chunk, self._first = Tree(), None

    def finished(self) -> tuple[bytes, int, tuple[Chunk, ...]]:
        """The root, how many leaves there are, and the chunks."""
        whole = len(self._chunks) * CHUNK_LEAVES
        count = whole + self._chunk.count
        if self._chunk.count:
            self._end_chunk()
        return root_of_chunks(self._chunks), count, tuple(self._chunks)


def root_of_chunks(chunks: Sequence[Chunk]) -> bytes:
    return root_of(chunk.root for chunk in chunks) if chunks else EMPTY_ROOT


def chunk_holding(chunks: Sequence[Chunk], place: LeafPlace) -> int | None:
    """The number of the chunk in which a leaf of that place stands, if there is one; None if it stands before all."""
    found = None
    for number, chunk in enumerate(chunks):
        if chunk.first > place:
            break
        found = number
    return found


def path_through(chunks: Sequence[Chunk], number: int, index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """What proves the leaf at `index` of chunk `number`, of whose leaves these are the hashes."""
    within = path_to(index, hashes)
    return [*within, *path_to(number, [chunk.root for chunk in chunks])]


_CHUNK_BYTES = 8 + 16 + HASH_BYTES


def packed(chunks: Sequence[Chunk]) -> bytes:
    """How chunks are kept: of each the microseconds since 1970 and the key of its first leaf, and its root."""
    return b"".join(
        ((chunk.first.at - EPOCH) // MICROSECOND).to_bytes(8, "big", signed=True)
        + chunk.first.key.bytes
        + chunk.root
        for chunk in chunks
    )


def unpacked(kept: bytes) -> tuple[Chunk, ...]:
    pieces = [kept[start : start + _CHUNK_BYTES] for start in range(0, len(kept), _CHUNK_BYTES)]
    return tuple(
        Chunk(
            LeafPlace(
                EPOCH + timedelta(microseconds=int.from_bytes(piece[:8], "big", signed=True)),
                UUID(bytes=piece[8:24]),
            ),
            piece[24:],
        )
        for piece in pieces
    )


@dataclass(frozen=True, slots=True)
class UsageDigest:
    """What stands for all events behind one total, `revision` of its window; sealed for the `seal`-th time.

    `leaf_count` is not always `event_count`: things that were there before a window count in it, and a level is told by
    its steps.
    """

    window_id: str
    seal: int
    revision: int
    item_id: str
    price_id: str | None
    meter: str
    quantity: Decimal
    event_count: int
    leaf_count: int
    root: bytes
    chunks: tuple[Chunk, ...] = ()

    @property
    def id(self) -> str:
        return digest_id(self.window_id, self.seal, self.item_id, self.price_id)

    @property
    def told(self) -> tuple[object, ...]:
        """What makes it another digest than one of another seal."""
        return (
            self.revision,
            self.item_id,
            self.price_id,
            self.meter,
            self.quantity,
            self.event_count,
            self.root,
        )


def digest_id(window_id: str, seal: int, item_id: str, price_id: str | None) -> str:
    return derived_id("udig", window_id, str(seal), item_id, price_id or "")

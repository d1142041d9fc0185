"""One fact of use: what makes it the same fact as another, and what makes it no fact at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from libs.common.ids import derived_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
HASH_BYTES = 16

# In bytes of UTF-8: these stand in index entries, of which PostgreSQL allows 2,704 bytes.
ID_BYTES_MAX = 256
SOURCE_BYTES_MAX = 512
TYPE_BYTES_MAX = 256
SUBJECT_BYTES_MAX = 512

# What begins so is said by Perennial of itself, such as consumption made of readings.
OWN_SOURCES = "perennial:"

PAYLOAD_LENGTH_MAX = 16_384  # of what was refused, characters that are kept


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing wrong with an event, and where. `code` is for programs, `detail` for people."""

    code: str
    pointer: str
    detail: str


class UsageEvent:
    """A well-formed fact. Hot: one is made for each event that arrives, hence a bare class with slots.

    `data` is the decoded payload, `data_json` the same in its canonical spelling: keys sorted, numbers
    normalised (1.50 is 1.5, 1e2 is 100). `key` is the identity, for ever; `digest` tells another payload apart:
    both are made when they are first asked for, since whoever only passes an event on needs neither.
    `occurred_us` is `occurred_at` in microseconds since 1970. No text in it holds a control character.
    """

    key: bytes
    digest: bytes

    __slots__ = (
        "data",
        "data_json",
        "digest",
        "event_id",
        "key",
        "occurred_at",
        "occurred_us",
        "source",
        "subject",
        "tenant",
        "time",
        "type",
    )

    def __init__(
        self,
        tenant: str,
        source: str,
        event_id: str,
        type: str,
        subject: str,
        time: datetime | None,
        arrived_at: datetime,
        data: Any,
        data_json: bytes | None,
    ) -> None:
        self.tenant = tenant
        self.source = source
        self.event_id = event_id
        self.type = type
        self.subject = subject
        self.time = time
        self.occurred_at = occurred_at = arrived_at if time is None else time
        self.occurred_us = (occurred_at - EPOCH) // MICROSECOND
        self.data = data
        self.data_json = data_json

    def identify(self) -> bytes:
        """Make what identity and payload are told apart by; returns the identity."""
        time_us = None if self.time is None else self.occurred_us
        self.digest = payload_digest(self.type, self.subject, time_us, self.data_json)
        self.key = key = event_key(self.tenant, self.source, self.event_id)
        return key

    def __getattr__(self, name: str) -> bytes:
        """What has not been made yet."""
        if name not in {"key", "digest"}:
            raise AttributeError(name)
        self.identify()
        return self.key if name == "key" else self.digest

    def payload(self) -> str:
        """The event as CloudEvents JSON, in one spelling, to be shown to people."""
        told: dict[str, str] = {"id": self.event_id, "source": self.source, "type": self.type}
        told["subject"] = self.subject
        if self.time is not None:
            told["time"] = self.time.isoformat().replace("+00:00", "Z")
        attributes = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        data = (self.data_json or b"null").decode()
        return f'{attributes[:-1]},"data":{data}}}'


@dataclass(frozen=True, slots=True)
class MalformedEvent:
    """What was sent and is no event, with all that is wrong. What could be read of it is told, if only to find it.

    `data` is what meters may still look at, so that their reasons are listed beside these. `payload_digest` tells
    the whole payload apart where `payload` is only its beginning.
    """

    reasons: tuple[Reason, ...]
    payload: str
    event_id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    data: Any = None
    data_readable: bool = False
    payload_digest: str | None = None

    def cut(self) -> MalformedEvent:
        """The same with no more of its payload than is kept, for the way to whoever keeps it."""
        if len(self.payload) <= PAYLOAD_LENGTH_MAX:
            return self
        digest = self.payload_digest or digest_of_payload(self.payload)
        return replace(self, payload=self.payload[:PAYLOAD_LENGTH_MAX], payload_digest=digest)


def event_key(tenant: str, source: str, event_id: str) -> bytes:
    """The identity (tenant, source, id) in 16 bytes. No part holds a NUL, so they cannot run into each other."""
    made = _begun(tenant, source).copy()
    made.update(event_id.encode())
    return made.digest()


@lru_cache(maxsize=256)
def _begun(tenant: str, source: str) -> blake2b:
    """The hash of what the identities of a source have in common."""
    return blake2b(f"{tenant}\0{source}\0".encode(), digest_size=HASH_BYTES)


def payload_digest(type: str, subject: str, time_us: int | None, data_json: bytes | None) -> bytes:
    """What two deliveries of one event have in common, however they were spelled.

    An event without a time happened when it arrived, and arrives at another time when it is sent again: hence
    the absent time, and not the arrival, is part of the digest.
    """
    told = f"{type}\0{subject}\0\0" if time_us is None else f"{type}\0{subject}\0{time_us}\0"
    return blake2b(told.encode() + (data_json or b"null"), digest_size=HASH_BYTES).digest()


def digest_of_payload(payload: str) -> str:
    """What tells one refused payload from another, as it was sent."""
    return blake2b(payload.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).hexdigest()


def reject_id(tenant: str, digest: str) -> str:
    """A reject is kept once, however often it is sent. `digest` is that of its payload."""
    return derived_id("urej", tenant, digest)


def conflict_id(tenant: str, key: bytes, other_digest: bytes) -> str:
    """A conflict is kept once for each payload that came after the first."""
    return derived_id("ucon", tenant, key.hex(), other_digest.hex())


def month_of(instant: datetime) -> date:
    """The UTC month in whose partition a raw event lies."""
    return date(instant.year, instant.month, 1)


@dataclass(frozen=True, slots=True)
class AcceptWindow:
    """How far from now an event may lie. `past` None: however long ago."""

    past: timedelta | None = None
    future: timedelta = timedelta(seconds=300)

    def bounds(self, now: datetime) -> tuple[datetime | None, datetime]:
        """The first and the last instant that are accepted."""
        return (None if self.past is None else now - self.past), now + self.future

    def refusals(self, occurred_at: datetime, now: datetime) -> Sequence[Reason]:
        """Why an event of `occurred_at` is refused at `now`; nothing when it is not."""
        first, last = self.bounds(now)
        if occurred_at > last:
            told = f"lies more than {self.future.total_seconds():.0f} s in the future"
            return (Reason("time_in_future", "/time", told),)
        if first is not None and occurred_at < first:
            assert self.past is not None
            told = f"lies more than {self.past.total_seconds():.0f} s in the past"
            return (Reason("time_too_old", "/time", told),)
        return ()

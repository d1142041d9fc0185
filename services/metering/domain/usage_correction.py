"""What takes a stored event back, or puts another in its place: raw events stay as they were sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from libs.common.ids import derived_id
from services.metering.domain.usage_event import (
    EPOCH,
    HASH_BYTES,
    MICROSECOND,
    UsageEvent,
    payload_digest,
)

CorrectionKind = Literal["void", "amendment"]

REASON_LENGTH_MAX = 500


class Place(NamedTuple):
    """Where a raw event lies."""

    key: bytes
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class RawEvent:
    """A stored event as meters look at it."""

    type: str
    subject: str
    occurred_at: datetime
    data: Any

    @property
    def occurred_us(self) -> int:
        return (self.occurred_at - EPOCH) // MICROSECOND


@dataclass(frozen=True, slots=True)
class StandingEvent:
    """An identity as it stands. Each correction has the next `revision`, and 0 is what was sent first.

    `place` and `digest` are of what counts, or, where that was taken back and nothing counts, of what counted last.
    `raw` is None when the raw event is no longer kept.
    """

    identity: bytes
    revision: int
    is_counted: bool
    place: Place
    digest: bytes
    raw: RawEvent | None

    @property
    def correction_id(self) -> str | None:
        """The last correction, if there was one."""
        return correction_id(self.identity, self.revision) if self.revision else None

    def voided(self) -> StandingEvent:
        return replace(self, revision=self.revision + 1, is_counted=False)

    def amended(self, replacement: UsageEvent) -> StandingEvent:
        return StandingEvent(
            identity=self.identity,
            revision=self.revision + 1,
            is_counted=True,
            place=Place(replacement.key, replacement.occurred_at),
            digest=replacement.digest,
            raw=RawEvent(replacement.type, replacement.subject, replacement.occurred_at, replacement.data),
        )


@dataclass(frozen=True, slots=True)
class UsageCorrection:
    """One step in the life of an identity. `withdrawn` no longer counts, `replacement` does from then on.

    `withdrawn` is None when what had been taken back is amended: then nothing counted. `occurred_at` is when it,
    or what counted last, happened.
    """

    id: str
    kind: CorrectionKind
    identity: bytes
    revision: int
    source: str
    event_id: str
    withdrawn: bytes | None
    occurred_at: datetime
    replacement: Place | None
    reason: str
    author: str
    corrected_at: datetime


def void(
    standing: StandingEvent,
    *,
    source: str,
    event_id: str,
    reason: str,
    author: str,
    now: datetime,
) -> UsageCorrection:
    """What is voided counts no more. Its identity stays taken, so that sending it again changes nothing."""
    assert standing.is_counted, "what is voided counted before"
    return UsageCorrection(
        id=correction_id(standing.identity, standing.revision + 1),
        kind="void",
        identity=standing.identity,
        revision=standing.revision + 1,
        source=source,
        event_id=event_id,
        withdrawn=standing.place.key,
        occurred_at=standing.place.occurred_at,
        replacement=None,
        reason=reason,
        author=author,
        corrected_at=now,
    )


def amend(
    standing: StandingEvent, replacement: UsageEvent, *, reason: str, author: str, now: datetime
) -> UsageCorrection:
    """`replacement`, as `revised` makes it, counts in the place of what counts now, if anything does."""
    return UsageCorrection(
        id=correction_id(standing.identity, standing.revision + 1),
        kind="amendment",
        identity=standing.identity,
        revision=standing.revision + 1,
        source=replacement.source,
        event_id=replacement.event_id,
        withdrawn=standing.place.key if standing.is_counted else None,
        occurred_at=standing.place.occurred_at,
        replacement=Place(replacement.key, replacement.occurred_at),
        reason=reason,
        author=author,
        corrected_at=now,
    )


def revised(event: UsageEvent, standing: StandingEvent, *, tenant: str) -> UsageEvent:
    """The payload of an amendment as a raw event of its own, under the key of the next revision.

    Without a time it happened when the event did that it replaces.
    """
    occurred_at = event.time or standing.place.occurred_at
    replacement = UsageEvent(
        tenant=tenant,
        source=event.source,
        event_id=event.event_id,
        type=event.type,
        subject=event.subject,
        time=occurred_at,
        arrived_at=occurred_at,
        data=event.data,
        data_json=event.data_json,
    )
    replacement.identify()  # made on asking for the digest otherwise, and then over the key of the revision
    replacement.key = revision_key(tenant, event.source, event.event_id, standing.revision + 1)
    return replacement


def says_the_same(replacement: UsageEvent, standing: StandingEvent) -> bool:
    """Whether what counts has this very payload: an event without a time has that at which it was stored."""
    if not standing.is_counted or replacement.occurred_at != standing.place.occurred_at:
        return False
    timeless = payload_digest(replacement.type, replacement.subject, None, replacement.data_json)
    return standing.digest in (replacement.digest, timeless)


def correction_id(identity: bytes, revision: int) -> str:
    """An identity is corrected once to each of its revisions."""
    return derived_id("ucor", identity.hex(), str(revision))


def revision_key(tenant: str, source: str, event_id: str, revision: int) -> bytes:
    """The key of an amendment's raw event. No identity has it, which is made of three parts."""
    told = f"{tenant}\0{source}\0{event_id}\0{revision}"
    return blake2b(told.encode(), digest_size=HASH_BYTES).digest()

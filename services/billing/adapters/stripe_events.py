"""Stripe's webhooks: whether Stripe sent them, and what they are about.

The scheme is HMAC-SHA256 of `{timestamp}.{body}` with the endpoint's secret, in the header
`Stripe-Signature: t=…,v1=…`. Source: "Verify webhook signatures" of Stripe's documentation.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from services.billing.adapters.stripe_gateway import ATTEMPT, REFUND

TOLERANCE = timedelta(minutes=5)
SIGNATURES_MAX = 16
ID_LENGTH_MAX = 255

SubjectKind = Literal["payment", "refund", "dispute", "method"]

_KINDS: Mapping[str, tuple[SubjectKind, str | None]] = {
    "payment_intent": ("payment", ATTEMPT),
    "refund": ("refund", REFUND),
    "dispute": ("dispute", None),
    "payment_method": ("method", None),
}


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """`our_id` is the attempt or refund that we named when we asked; events about others' things have none."""

    id: str
    type: str
    happened_at: datetime
    subject_kind: SubjectKind
    subject_id: str
    our_id: str | None


def is_genuine(body: bytes, header: str, secrets: Iterable[str], *, now: datetime) -> bool:
    """Whether one of the secrets signed this body, no more than five minutes ago by either clock."""
    stamp, signatures = _read_header(header)
    if stamp is None or not signatures:
        return False
    if abs(now.timestamp() - stamp) > TOLERANCE.total_seconds():
        return False
    signed = b"%d.%s" % (stamp, body)
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return any(hmac.compare_digest(one, given) for one in expected for given in signatures)


def read_event(body: bytes) -> StripeEvent | None:
    """What a genuine event is about; None when it is about nothing of ours. Raises: ValueError when it is no event."""
    try:
        told = msgspec.json.decode(body)
        thing = told["data"]["object"]
        kind = _KINDS.get(thing.get("object", ""))
        id, type, created = told["id"], told["type"], told["created"]
        subject = thing.get("id")
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise ValueError("the body is no event") from None
    if not all(isinstance(text, str) and 0 < len(text) <= ID_LENGTH_MAX for text in (id, type)):
        raise ValueError("the body is no event")
    if kind is None or not isinstance(subject, str) or not isinstance(created, int):
        return None
    subject_kind, named = kind
    our_id = _our_id(thing, named) if named is not None else None
    if named is not None and our_id is None:
        return None
    return StripeEvent(id, type, datetime.fromtimestamp(created, UTC), subject_kind, subject, our_id)


def _our_id(thing: Mapping[str, Any], named: str) -> str | None:
    metadata = thing.get("metadata")
    id = metadata.get(named) if isinstance(metadata, dict) else None
    return id if isinstance(id, str) and len(id) <= ID_LENGTH_MAX else None


def _read_header(header: str) -> tuple[int | None, list[str]]:
    parts = [part.partition("=") for part in header.split(",")[: SIGNATURES_MAX + 1]]
    stamps = [value for name, _, value in parts if name.strip() == "t"]
    if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdecimal() and len(stamps[0]) <= 12):
        return None, []
    given = [value for name, _, value in parts if name.strip() == "v1" and value.isascii()]
    return int(stamps[0]), given

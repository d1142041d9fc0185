"""What every event is wrapped in: the CloudEvents attributes, and how they travel as headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

CONTENT_TYPE = "application/json"


class Event(BaseModel):
    """Base of all published events. Frozen; readers ignore fields that a newer version added.

    `version` is the version of the aggregate after the change. `occurred_at` is the emitter's *business* now:
    the instant of the customer's test clock, or the wall's. `test_clock` names that clock, if any. How one is read and
    written is worked out when the first is.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    TYPE: ClassVar[str] = ""  # of those that are published; empty of a base that others share

    tenant: str
    version: int = Field(default=1, ge=1)
    occurred_at: AwareDatetime
    test_clock: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event as it stands in an outbox, on a bus or among dead letters (CloudEvents 1.0, binary mode)."""

    id: str
    type: str
    source: str
    tenant: str
    aggregate_id: str
    aggregate_version: int
    occurred_at: datetime
    test_clock: str | None
    traceparent: str | None
    data: bytes

    @property
    def key(self) -> str:
        """What keeps order: tenant and aggregate."""
        return f"{self.tenant}/{self.aggregate_id}"

    def headers(self, *, hop_traceparent: str | None) -> dict[str, str]:
        """CloudEvents headers; `ce_traceparent` is where the story began, `traceparent` this hop."""
        headers = {
            "content-type": CONTENT_TYPE,
            "ce_specversion": "1.0",
            "ce_id": self.id,
            "ce_type": self.type,
            "ce_source": self.source,
            "ce_subject": self.aggregate_id,
            "ce_time": self.occurred_at.isoformat().replace("+00:00", "Z"),
            "ce_tenant": self.tenant,
            "ce_aggregateversion": str(self.aggregate_version),
            "ce_partitionkey": self.key,
        }
        if self.test_clock is not None:
            headers["ce_testclock"] = self.test_clock
        if self.traceparent is not None:
            headers["ce_traceparent"] = self.traceparent
        if hop_traceparent or self.traceparent:
            headers["traceparent"] = hop_traceparent or self.traceparent or ""
        return headers

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], data: bytes) -> Envelope:
        """Raises: KeyError or ValueError when a required attribute is missing or malformed."""
        return cls(
            id=headers["ce_id"],
            type=headers["ce_type"],
            source=headers["ce_source"],
            tenant=headers["ce_tenant"],
            aggregate_id=headers["ce_subject"],
            aggregate_version=int(headers["ce_aggregateversion"]),
            occurred_at=datetime.fromisoformat(headers["ce_time"]),
            test_clock=headers.get("ce_testclock"),
            traceparent=headers.get("traceparent") or headers.get("ce_traceparent"),
            data=data,
        )

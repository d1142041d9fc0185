"""What is said of voids and amendments."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from libs.common.web.bodies import Instant, StrictBody
from services.metering.application.void_and_store import CorrectionResult
from services.metering.domain.usage_correction import CorrectionKind, UsageCorrection
from services.metering.entrypoints.usage_event_bodies import ReasonBody


class CorrectionResultBody(StrictBody):
    """What became of one entry. `unchanged`: it was just so; `correction_id` names what made it so, if anything did."""

    id: str | None
    source: str | None
    status: Literal["voided", "amended", "unchanged", "not_found", "rejected"]
    correction_id: str | None = Field(examples=["ucor_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    reasons: list[ReasonBody] = Field(description="All that is wrong, with pointers into the entry.")

    @classmethod
    def from_result(cls, source: str | None, event_id: str | None, result: CorrectionResult) -> Self:
        return cls(
            id=event_id,
            source=source,
            status=result.status,
            correction_id=result.correction_id,
            reasons=[ReasonBody.from_domain(reason) for reason in result.reasons],
        )


class CorrectionResultsBody(StrictBody):
    """One result for each entry, in the order in which they were sent, and how many of each kind."""

    results: list[CorrectionResultBody]
    voided: int
    amended: int
    unchanged: int
    not_found: int
    rejected: int

    @classmethod
    def of(cls, results: list[CorrectionResultBody]) -> Self:
        told = [result.status for result in results]
        return cls(
            results=results,
            voided=told.count("voided"),
            amended=told.count("amended"),
            unchanged=told.count("unchanged"),
            not_found=told.count("not_found"),
            rejected=told.count("rejected"),
        )


class UsageCorrectionBody(StrictBody):
    """A void or an amendment. Corrections of one event are numbered by `revision`, from 1."""

    id: str = Field(examples=["ucor_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    kind: CorrectionKind
    source: str
    event_id: str
    revision: int
    time: Instant = Field(description="When the event happened that counted until then.")
    amended_time: Instant | None = Field(description="When the event happened that counts since.")
    reason: str
    author: str
    corrected_at: Instant

    @classmethod
    def from_domain(cls, correction: UsageCorrection) -> Self:
        return cls(
            id=correction.id,
            kind=correction.kind,
            source=correction.source,
            event_id=correction.event_id,
            revision=correction.revision,
            time=correction.occurred_at,
            amended_time=None if correction.replacement is None else correction.replacement.occurred_at,
            reason=correction.reason,
            author=correction.author,
            corrected_at=correction.corrected_at,
        )

"""What is said about seals: digests of a window, and what shows that one event is behind a total."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from libs.common.web.bodies import DecimalText, Instant, StrictBody
from services.metering.application.prove_usage import InclusionProof, SealedWindow
from services.metering.domain.meter import Aggregation, LevelKind, LevelPer, PeakLength
from services.metering.domain.usage_seal import ALGORITHM, UsageDigest


class DigestBody(StrictBody):
    """What stands for the events behind one total: the root of the tree over them, in hex.

    What the meter does with what it takes of them is told as far as the quantity can be worked out again: by what the
    integral of a level is divided (`divisor`: microseconds, or days where `by_day`), and whose greatest sum is the peak.
    """

    item_id: str
    price_id: str | None
    meter: str
    aggregation: Aggregation | None
    keeps: bool
    level: LevelKind | None
    per: LevelPer | None
    by_day: bool
    divisor: str | None
    peak_of: PeakLength | None
    quantity: DecimalText
    event_count: int
    leaf_count: int
    root: str

    @classmethod
    def from_view(cls, digest: UsageDigest, sealed: SealedWindow) -> Self:
        meter = sealed.meters.get(digest.meter)
        divisor = sealed.divisor(digest.meter)
        return cls(
            item_id=digest.item_id,
            price_id=digest.price_id,
            meter=digest.meter,
            aggregation=None if meter is None else meter.aggregation,
            keeps=meter is not None and meter.options.keeps,
            level=None if meter is None else meter.options.level,
            per=None if meter is None else meter.options.per,
            by_day=meter is not None and meter.options.by_day,
            divisor=None if divisor is None else str(divisor),
            peak_of=None if meter is None else meter.options.peak_of,
            quantity=digest.quantity,
            event_count=digest.event_count,
            leaf_count=digest.leaf_count,
            root=digest.root.hex(),
        )


class WindowDigestsBody(StrictBody):
    """The digests of one seal of a window. `seal` is null while there is none; `revision` is the one that it seals.

    `is_current`: the window has not been corrected since.
    """

    window_id: str
    subscription_id: str
    period_index: int
    window_start: Instant
    window_end: Instant
    zone: str
    revision: int | None
    seal: int | None
    is_current: bool
    algorithm: str = ALGORITHM
    digests: list[DigestBody]

    @classmethod
    def from_view(cls, sealed: SealedWindow) -> Self:
        window, first = sealed.window, next(iter(sealed.digests), None)
        return cls(
            window_id=window.id,
            subscription_id=window.subscription_id,
            period_index=window.period_index,
            window_start=window.window_start,
            window_end=window.window_end,
            zone=sealed.zone,
            revision=None if first is None else first.revision,
            seal=None if first is None else first.seal,
            is_current=first is not None and first.revision == window.revision,
            digests=[DigestBody.from_view(digest, sealed) for digest in sealed.digests],
        )


class InclusionProofBody(StrictBody):
    """`leaf` stands at `index`, counted from 0, among `leaf_count`: hashed with `path`, lowest first, it is the root."""

    window_id: str
    revision: int
    seal: int
    item_id: str
    price_id: str | None
    meter: str
    algorithm: str = ALGORITHM
    root: str
    leaf_count: int
    index: int
    leaf: dict[str, Any] = Field(examples=[{"id": "flight-1", "value": "95"}])
    leaf_hash: str
    path: list[str]

    @classmethod
    def from_view(cls, proof: InclusionProof) -> Self:
        digest = proof.digest
        return cls(
            window_id=digest.window_id,
            revision=digest.revision,
            seal=digest.seal,
            item_id=digest.item_id,
            price_id=digest.price_id,
            meter=digest.meter,
            root=digest.root.hex(),
            leaf_count=digest.leaf_count,
            index=proof.index,
            leaf=dict(proof.leaf),
            leaf_hash=proof.leaf_hash.hex(),
            path=[node.hex() for node in proof.path],
        )

"""Requests and answers about what was published."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import Path
from pydantic import AliasChoices, Field

from libs.common.web.bodies import Instant, StrictBody, identifier
from services.catalog.application.diff_plan import PlanDiff, Side
from services.catalog.application.offered_version import OfferedVersion
from services.catalog.domain.plan_diff import What
from services.catalog.domain.plan_draft import PlanKind
from services.catalog.domain.price import price_id
from services.catalog.domain.sale import OfferStatus, Validity
from services.catalog.entrypoints.bodies import examples
from services.catalog.entrypoints.plan_bodies import (
    PUBLISHED_PARTS,
    CommitmentBody,
    DunningBody,
    FeatureGrantBody,
    LateUsageBody,
    PhaseBody,
    TrialBody,
)
from services.catalog.entrypoints.price_bodies import PUBLISHED_MINUTES, IntervalBody, PartBody, PriceBody

PlanVersionId = Annotated[str, identifier("plv"), Field(examples=["plv_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1, examples=[1])]


class PublicationCreateBody(StrictBody):
    """From when until when the version may be newly agreed to; both may be left out, and never change afterwards."""

    model_config = examples({"valid_from": "2026-01-01T00:00:00Z", "valid_until": None})

    valid_from: Instant | None = Field(default=None, description="Null: from now on.")
    valid_until: Instant | None = Field(default=None, description="The first instant at which it is over.")

    def to_domain(self) -> Validity:
        return Validity(self.valid_from, self.valid_until)


_VERSION: dict[str, Any] = {
    "id": "plv_01jz3v6m1qk0c8n4r2d5s7t9wx",
    "plan_id": "pln_01jz3v6m1qk0c8n4r2d5s7t9wx",
    "number": 1,
    "code": "power-by-the-minute",
    "status": "on_sale",
    **PUBLISHED_PARTS,
    "prices": [{"id": "prc_01jz3v6m1qk0c8n4r2d5s7t9wx", **PUBLISHED_MINUTES}],
    "valid_from": "2025-06-01T00:00:00Z",
    "valid_until": None,
    "published_at": "2025-05-20T09:30:00Z",
    "digest": "54f76ced0f825cf5692e90adac577408cc38ca5711dd8c62d33666781fcb8fc8",
}


class PlanVersionBody(PartBody):
    """What was published: what a subscription refers to. `digest` is the SHA-256 of all its content.

    Only `status` ever changes. It says whether the version may be newly agreed to: `scheduled` and `expired` are told
    by its bounds; `withdrawn` and `archived` by somebody's decision. Subscriptions on it go on in each case.
    """

    model_config = examples(_VERSION)

    id: str
    plan_id: str
    number: int
    code: str
    status: OfferStatus
    name: str
    description: str
    kind: PlanKind
    for_plans: list[str]
    currency: str
    interval: IntervalBody
    prices: list[PriceBody]
    phases: list[PhaseBody]
    trial: TrialBody | None
    commitments: list[CommitmentBody]
    features: list[FeatureGrantBody]
    late_usage: LateUsageBody
    dunning: DunningBody
    valid_from: Instant | None
    valid_until: Instant | None
    published_at: Instant
    digest: str

    @classmethod
    def from_domain(cls, offered: OfferedVersion) -> Self:
        version, content = offered.version, offered.version.content
        same = {name: getattr(content, name) for name in _OF_THE_CONTENT}
        return cls(
            **same,
            id=version.id,
            plan_id=version.plan_id,
            number=version.number,
            code=version.code,
            status=offered.status,
            prices=[
                PriceBody.published(price, price_id(version.id, price, currency=content.currency))
                for price in content.prices
            ],
            valid_from=version.validity.valid_from,
            valid_until=version.validity.valid_until,
            published_at=version.published_at,
            digest=version.digest,
        )


_OF_THE_CONTENT = (
    "name",
    "description",
    "kind",
    "for_plans",
    "currency",
    "interval",
    "phases",
    "trial",
    "commitments",
    "features",
    "late_usage",
    "dunning",
)


class PublicationBody(StrictBody):
    """`unchanged`: the draft says what the newest version says already, so that version stands."""

    model_config = examples({"outcome": "published", "plan_version": _VERSION})

    outcome: Literal["published", "unchanged"]
    plan_version: PlanVersionBody


_CHANGE: dict[str, Any] = {
    "pointer": "/prices/0/unit_amount",
    "price": "aircraft",
    "what": "changed",
    "before": "1200",
    "after": "1300",
    "words": "the price aircraft in USD: the unit amount goes from 1200 to 1300, 8.33 % more",
}


class PlanChangeLineBody(PartBody):
    """One thing that changes. `pointer` leads into the later side, into the earlier one for what was removed.

    `before` and `after` are JSON as prices and plans are stored: numbers as strings, what is as by default left out.
    """

    model_config = examples(_CHANGE)

    pointer: str
    price: str | None
    what: What
    before: Any
    after: Any
    words: str = Field(validation_alias=AliasChoices("sentence", "words"))


class PlanDiffBody(StrictBody):
    """All that changes, in the order of the plan; `words` says it in one paragraph."""

    model_config = examples(
        {
            "plan_id": "pln_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "from": 1,
            "to": "draft",
            "changes": [_CHANGE],
            "words": "The price aircraft in USD: the unit amount goes from 1200 to 1300, 8.33 % more.",
        }
    )

    plan_id: str
    before: Side = Field(validation_alias=AliasChoices("from", "before"), serialization_alias="from")
    after: Side = Field(validation_alias=AliasChoices("to", "after"), serialization_alias="to")
    changes: list[PlanChangeLineBody]
    words: str

    @classmethod
    def from_domain(cls, diff: PlanDiff) -> Self:
        return cls.model_validate(diff, from_attributes=True)

"""Answers about what a customer may use now."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from libs.common.web.bodies import DecimalText, Instant, StrictBody
from services.subscriptions.application.answer_entitlements import Entitlements
from services.subscriptions.domain.entitlement import Entitlement, FeatureKind, NotAllowed


class EntitlementBody(StrictBody):
    """One feature, over all subscriptions that grant it. Programs read `allowed`, and `reason` if it is false.

    A `limit` is the sum of what they grant, and so is an `allowance`. `used` and `remaining` are null where the
    allowance begins anew more often than usage is told of, once a billing period: metering knows it, at /v1/usage.
    `as_of`: what was stored later is not counted yet; null while no usage was told of.
    """

    feature: str = Field(examples=["washes"])
    feature_id: str = Field(examples=["ftr_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    kind: FeatureKind = Field(examples=["metered"])
    allowed: bool
    reason: NotAllowed | None = Field(examples=[None])
    limit: DecimalText | None = Field(examples=[None])
    allowance: DecimalText | None = Field(examples=["12"])
    used: DecimalText | None = Field(examples=["5"])
    remaining: DecimalText | None = Field(examples=["7"])
    overage_allowed: bool | None = Field(examples=[True])
    resets_at: Instant | None
    as_of: Instant | None
    subscription_ids: list[str] = Field(examples=[["sub_01jz3v6m1qk0c8n4r2d5s7t9wx"]])

    @classmethod
    def from_domain(cls, entitlement: Entitlement) -> Self:
        return cls(
            feature=entitlement.code,
            feature_id=entitlement.feature_id,
            kind=entitlement.kind,
            allowed=entitlement.allowed,
            reason=entitlement.reason,
            limit=entitlement.limit,
            allowance=entitlement.allowance,
            used=entitlement.used,
            remaining=entitlement.remaining,
            overage_allowed=entitlement.overage_allowed,
            resets_at=entitlement.resets_at,
            as_of=entitlement.as_of,
            subscription_ids=list(entitlement.subscription_ids),
        )


class EntitlementsBody(StrictBody):
    """All that is granted now, by code. Asked for one feature, it alone; empty if nothing grants it."""

    customer_id: str
    data: list[EntitlementBody]

    @classmethod
    def from_answer(cls, answer: Entitlements) -> Self:
        data = [EntitlementBody.from_domain(entitlement) for entitlement in answer.granted]
        return cls(customer_id=answer.customer_id, data=data)

"""What would something come to: the question, and the documents that it would make."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from libs.common.web.bodies import Instant, StrictBody
from services.subscriptions.application.preview import Preview
from services.subscriptions.entrypoints.bodies import (
    CancellationBody,
    SubscriptionBody,
    SubscriptionCreateBody,
)
from services.subscriptions.entrypoints.change_bodies import ChangeCreateBody
from services.subscriptions.entrypoints.pause_bodies import ActivationBody, PauseCreateBody, ResumptionBody

Shown = Literal["next_invoice", "at_once"]

_AGREED: JsonDict = {"customer_id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx", "plan": "flying-minutes"}
_DOCUMENT: dict[str, Any] = {
    "id": "inv_4c0r1n8k2d5s7t9wx01jz3v6m1",
    "document_kind": "invoice",
    "issue": 1,
    "subscription_id": "sub_01jz3v6m1qk0c8n4r2d5s7t9wx",
    "customer_id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx",
    "boundary_at": "2026-05-01T04:00:00Z",
    "period_index": 1,
    "status": "finalized",
    "status_reason": None,
    "waits_for": [],
    "currency": "USD",
    "net": {"amount": "756000.00", "currency": "USD"},
    "tax": {"amount": "0.00", "currency": "USD"},
    "total": {"amount": "756000.00", "currency": "USD"},
    "balance_applied": {"amount": "6000.00", "currency": "USD"},
    "due": {"amount": "750000.00", "currency": "USD"},
    "issued_at": "2026-05-01T04:00:00Z",
    "due_on": "2026-05-31",
    "lines": [
        {
            "id": "lin_4c0r1n8k2d5s7t9wx01jz3v6m2",
            "ordinal": 1,
            "description": "Aircraft",
            "charge_kind": "recurring",
            "item_id": "si_4c0r1n8k2d5s7t9wx01jz3v6m1",
            "price_id": "prc_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "tier": None,
            "quantity": "630",
            "unit_amount": "1200",
            "net": {"amount": "756000.00", "currency": "USD"},
            "service_period": {"start": "2026-05-01", "end": "2026-06-01"},
            "formula": "630 x 1200",
        }
    ],
}
_BALANCE = {
    "customer_id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx",
    "currency": "USD",
    "before": {"amount": "6000.00", "currency": "USD"},
    "after": {"amount": "0.00", "currency": "USD"},
}


class SubscriptionPreviewBody(StrictBody):
    """At most one of them; none asks for the next invoice as things stand.

    `show`: the document that the change makes `at_once`, if it makes one, or all until the next end of a period.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"change": {"when": "now", "quantities": {"aircraft": "630"}}}]}
    )

    change: ChangeCreateBody | None = None
    cancellation: CancellationBody | None = None
    pause: PauseCreateBody | None = None
    resumption: ResumptionBody | None = None
    activation: ActivationBody | None = None
    show: Shown = "next_invoice"

    @property
    def asked(self) -> str | None:
        """The name of what is asked for, if anything is."""
        return next((name for name in _ASKED if getattr(self, name) is not None), None)

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if sum(getattr(self, name) is not None for name in _ASKED) > 1:
            raise ValueError(f"takes one of {', '.join(_ASKED)}, or none")
        return self


_ASKED = ("change", "cancellation", "pause", "resumption", "activation")


class NewSubscriptionPreviewBody(StrictBody):
    """`show`: what is owed `at_once`, or all until the end of the first period."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"subscription": _AGREED, "show": "at_once"}]})

    subscription: SubscriptionCreateBody
    show: Shown = "at_once"


class PreviewBody(StrictBody):
    """`documents` and `balances` are as billing shows them (POST /v1/invoice-previews), `subscription` as it would be.

    Time was let run to `until`. Usage is counted as of `usage_as_of`; what waits was accepted, or told of, and is not
    counted yet.
    """

    subscription: SubscriptionBody
    until: Instant
    usage_as_of: Instant | None
    usage_records_waiting: int | None
    events_waiting: int | None
    documents: list[dict[str, Any]] = Field(examples=[[_DOCUMENT]])
    balances: list[dict[str, Any]] = Field(examples=[[_BALANCE]])

    @classmethod
    def from_preview(cls, preview: Preview) -> Self:
        return cls(
            subscription=SubscriptionBody.from_domain(preview.subscription),
            until=preview.until,
            usage_as_of=preview.usage.as_of,
            usage_records_waiting=preview.usage.usage_records_waiting,
            events_waiting=preview.usage.events_waiting,
            documents=[dict(document) for document in preview.documents],
            balances=[dict(balance) for balance in preview.balances],
        )

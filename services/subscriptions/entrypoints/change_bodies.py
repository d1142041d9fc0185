"""Requests and answers about changes of a subscription: now, at the end of a period, on a date."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import (
    BusinessDate,
    Code,
    Currency,
    Flag,
    Instant,
    Quantity,
    StrictBody,
    Zone,
    identifier,
)
from services.subscriptions.application.alter_change import AlterChange
from services.subscriptions.application.change_subscription import ChangeMade, ChangeSubscription
from services.subscriptions.application.wanted_changes import AddOnRequest, ChangeRequest
from services.subscriptions.domain.scheduled_change import (
    ChangeStatus,
    ScheduledChange,
    WantedAddOn,
    WantedChange,
    When,
)
from services.subscriptions.entrypoints.bodies import (
    ADD_ONS_MAX,
    QUANTITIES_MAX,
    AddOnBody,
    OverlayId,
    PlanVersionId,
    SubscriptionBody,
    SubscriptionId,
)
from services.subscriptions.entrypoints.customer_bodies import CustomerId

_CODE = r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?"

ChangeId = Annotated[str, identifier("sch"), Field(examples=["sch_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
ItemCode = Annotated[str, StringConstraints(pattern=rf"^{_CODE}(?:/{_CODE})?$", max_length=129)]
"""The code of a price, after that of the add-on that it is of: `seats`, `swap-service/swaps`."""

ProrationMethod = Literal["none", "day", "second", "full"]
Settle = Literal["next_invoice", "at_once"]
_OWN_NAMES = {"settle": "settles", "indexation": "is_indexation"}


class OnDateBody(StrictBody):
    """From the beginning of this day in the subscription's zone; one that is over makes the change backdated."""

    on: BusinessDate


WhenGiven = Annotated[
    Literal["now", "period_end"] | OnDateBody,
    Field(examples=["now", "period_end", {"on": "2025-07-01"}]),
]


def when_of(given: Literal["now", "period_end"] | OnDateBody) -> When:
    return When("on", given.on) if isinstance(given, OnDateBody) else When(given)


class ChangedThingsBody(StrictBody):
    """What is to be different: whatever is left out stays as it is.

    A plan is named by its code, with the number of a `version` or as its newest version on sale, or by
    `plan_version_id`; a `version` alone is of the present plan. `plan_overlay_id` are the customer's own prices.
    `quantities` are by the code of an item, those of an add-on as `add-on/price`. `add` and `remove` are of add-ons.
    `anchor_on` is a day on which some period begins; without it, another interval is counted from the change on
    (`restart`), or from the same day as before (`keep`). `co_term_with` takes the anchor of another subscription of the
    customer. `currency` changes with a period only. `proration` stands in place of that of the prices. `settle`: what
    the change costs or gives back stands on the next invoice, or on a document of its own at once. `indexation`: the
    prices of the plan are those of before, adjusted to an index as was agreed on; that is shown apart among the movements
    of recurring revenue, and changes nothing else.
    """

    plan: Code | None = Field(default=None, examples=["flying-minutes"])
    plan_version_id: PlanVersionId | None = None
    version: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    plan_overlay_id: OverlayId | None = None
    quantities: dict[ItemCode, Quantity] = Field(
        default_factory=dict, max_length=QUANTITIES_MAX, examples=[{"aircraft": "630"}]
    )
    add: Annotated[tuple[AddOnBody, ...], Field(max_length=ADD_ONS_MAX)] = ()
    remove: Annotated[tuple[ItemCode, ...], Field(max_length=ADD_ONS_MAX)] = ()
    anchor_on: BusinessDate | None = None
    anchoring: Literal["keep", "restart"] | None = None
    co_term_with: SubscriptionId | None = None
    zone: Zone | None = None
    currency: Currency | None = None
    payer_id: CustomerId | None = None
    proration: ProrationMethod | None = None
    settle: Settle = "next_invoice"
    indexation: Flag = False

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> Self:
        if self.plan_version_id is not None and (self.plan is not None or self.version is not None):
            raise ValueError("takes a plan with a version's number, or plan_version_id, not both")
        if self.anchor_on is not None and self.co_term_with is not None:
            raise ValueError("takes anchor_on or co_term_with, not both")
        return self

    def to_request(self) -> ChangeRequest:
        return ChangeRequest(
            plan=self.plan,
            plan_version_id=self.plan_version_id,
            version=self.version,
            plan_overlay_id=self.plan_overlay_id,
            quantities=self.quantities,
            add=tuple(AddOnRequest(one.plan, one.quantities) for one in self.add),
            remove=self.remove,
            anchor_on=self.anchor_on,
            anchoring=self.anchoring,
            co_term_with=self.co_term_with,
            zone=self.zone,
            currency=self.currency,
            payer_id=self.payer_id,
            proration=self.proration,
            settles=self.settle == "at_once",
            is_indexation=self.indexation,
        )


class ChangeCreateBody(ChangedThingsBody):
    when: WhenGiven

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set - {"when", "proration", "settle", "indexation"}:
            raise ValueError("needs something that is to be different, such as quantities or a plan")
        return self

    def to_command(self, subscription_id: str) -> ChangeSubscription:
        return ChangeSubscription(subscription_id, when_of(self.when), self.to_request())


class ChangeAlterBody(ChangedThingsBody):
    """What is given takes the place of what was asked for; null takes it out of the change."""

    when: WhenGiven | SkipJsonSchema[None] = None

    @field_validator("when", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def to_command(self, subscription_id: str, change_id: str) -> AlterChange:
        given = {_OWN_NAMES.get(name, name) for name in self.model_fields_set}
        when = when_of(self.when) if self.when is not None else None
        return AlterChange(subscription_id, change_id, self.to_request(), given, when)


class WantedAddOnBody(StrictBody):
    plan: str
    plan_version_id: str
    quantities: dict[str, Quantity]

    @classmethod
    def from_domain(cls, wanted: WantedAddOn) -> Self:
        return cls(
            plan=wanted.code, plan_version_id=wanted.plan_version_id, quantities=dict(wanted.quantities)
        )


class WantedBody(StrictBody):
    """What was asked for. A plan's name was pinned to the version that it stood for then."""

    plan: str | None
    plan_version_id: str | None
    plan_overlay_id: str | None
    quantities: dict[str, Quantity]
    add: list[WantedAddOnBody]
    remove: list[str]
    anchor_on: BusinessDate | None
    anchoring: Literal["keep", "restart"] | None
    zone: str | None
    currency: str | None
    payer_id: str | None
    proration: ProrationMethod | None
    settle: Settle
    indexation: bool

    @classmethod
    def from_domain(cls, wanted: WantedChange) -> Self:
        return cls(
            plan=wanted.plan_code,
            plan_version_id=wanted.plan_version_id,
            plan_overlay_id=wanted.overlay_id,
            quantities=dict(wanted.quantities),
            add=[WantedAddOnBody.from_domain(one) for one in wanted.add],
            remove=list(wanted.remove),
            anchor_on=wanted.anchor_on,
            anchoring=wanted.anchoring,
            zone=wanted.zone,
            currency=wanted.currency,
            payer_id=wanted.payer_id,
            proration=wanted.proration,
            settle="at_once" if wanted.settles else "next_invoice",
            indexation=wanted.is_indexation,
        )


class ReasonBody(StrictBody):
    """Why it was not carried out: the code of the error that it would have been refused with."""

    code: str
    detail: str


class ChangeBody(StrictBody):
    """`effective_at` is the instant from which on it holds: null while it waits for the end of a period.

    `unchanged`: all of it was agreed on already. `failed`: it could not be carried out any more when its time came; the
    subscription went on as it was.
    """

    id: str
    subscription_id: str
    status: ChangeStatus
    when: Literal["now", "period_end"] | OnDateBody
    effective_at: Instant | None
    wanted: WantedBody
    settled_at: Instant | None
    reason: ReasonBody | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, change: ScheduledChange) -> Self:
        return cls(**_fields(change))


class ChangeMadeBody(ChangeBody):
    """The change, and the subscription as it is now."""

    subscription: SubscriptionBody

    @classmethod
    def from_made(cls, made: ChangeMade) -> Self:
        return cls(**_fields(made.change), subscription=SubscriptionBody.from_domain(made.subscription))


def _fields(change: ScheduledChange) -> dict[str, Any]:
    when: Any = OnDateBody(on=change.when.on) if change.when.on is not None else change.when.kind
    reason = None
    if change.reason_code is not None:
        reason = ReasonBody(code=change.reason_code, detail=change.reason or "")
    return {
        "id": change.id,
        "subscription_id": change.subscription_id,
        "status": change.status,
        "when": when,
        "effective_at": change.at,
        "wanted": WantedBody.from_domain(change.wanted),
        "settled_at": change.settled_at,
        "reason": reason,
        "version": change.version,
        "created_at": change.created_at,
    }

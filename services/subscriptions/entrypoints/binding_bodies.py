"""Requests and answers about subject bindings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from libs.common.errors import ServiceError
from libs.common.web.bodies import Code, Instant, StrictBody, identifier
from services.subscriptions.application.bind_subjects import (
    BindingResult,
    BindSubject,
    Created,
    Overlapping,
    Rejected,
    Unchanged,
)
from services.subscriptions.domain.subject_binding import SubjectBinding
from services.subscriptions.entrypoints.bodies import ItemId, SubscriptionId

BINDINGS_MAX = 1_000


def _plain(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must not hold control characters, nor begin or end with a space")
    return value


BindingId = Annotated[str, identifier("bnd"), Field(examples=["bnd_4c0r1n8k2d5s7t9wx01jz3v6m1"])]
Subject = Annotated[str, Field(min_length=1, max_length=255, examples=["N14228"]), AfterValidator(_plain)]

AssetId = Annotated[
    str, Field(min_length=1, max_length=100, examples=["ast_luminaire-4711"]), AfterValidator(_plain)
]


class BindingCreateBody(StrictBody):
    """From `bound_from` until `bound_until`, usage of the subject on the meter counts for one item.

    The item is named by `item_id`, or as the one item of `subscription_id` that is priced by the meter. Either
    bound may lie in the past; without `bound_until` the binding lasts until it is released, or until the
    subscription ends. `asset_id` is the thing that the subject is, or is built into: usage can be asked for by it.
    """

    subject: Subject
    meter: Code
    item_id: ItemId | None = None
    subscription_id: SubscriptionId | None = None
    bound_from: Instant
    bound_until: Instant | None = None
    asset_id: AssetId | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.item_id is None) == (self.subscription_id is None):
            raise ValueError("needs either item_id or subscription_id")
        return self

    def to_command(self) -> BindSubject:
        return BindSubject(
            subject=self.subject,
            meter=self.meter,
            bound_from=self.bound_from,
            bound_until=self.bound_until,
            item_id=self.item_id,
            subscription_id=self.subscription_id,
            asset_id=self.asset_id,
        )


class BindingsCreateBody(StrictBody):
    bindings: list[BindingCreateBody] = Field(min_length=1, max_length=BINDINGS_MAX)


class BindingErrorBody(StrictBody):
    """Why a binding was rejected: the field at fault, within the whole request."""

    code: str
    detail: str
    pointer: str
    remedy: str | None

    @classmethod
    def from_error(cls, error: ServiceError, position: int) -> Self:
        return cls(
            code=error.code,
            detail=error.message,
            pointer=f"/bindings/{position}{error.pointer or ''}",
            remedy=error.remedy,
        )


class BindingResultBody(StrictBody):
    """`binding_id` is the binding's own; on a conflict `conflicts_with` is the one that is in its way."""

    status: Literal["created", "unchanged", "conflict", "rejected"]
    binding_id: str | None = None
    conflicts_with: str | None = None
    error: BindingErrorBody | None = None

    @classmethod
    def from_result(cls, result: BindingResult, position: int) -> Self:
        match result:
            case Created(binding=binding):
                return cls(status="created", binding_id=binding.id)
            case Unchanged(binding=binding):
                return cls(status="unchanged", binding_id=binding.id)
            case Overlapping(binding=binding):
                return cls(status="conflict", conflicts_with=binding.id)
            case Rejected(error=error):
                return cls(status="rejected", error=BindingErrorBody.from_error(error, position))


class BindingResultsBody(StrictBody):
    """One result for each binding of the request, in its order."""

    results: list[BindingResultBody]


class ReleaseBody(StrictBody):
    """The binding ends at `at`, past or to come."""

    at: Instant


class BindingBody(StrictBody):
    id: str
    subject: str
    meter: str
    subscription_id: str
    item_id: str
    bound_from: Instant
    bound_until: Instant | None
    asset_id: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, binding: SubjectBinding) -> Self:
        return cls(
            id=binding.id,
            subject=binding.subject,
            meter=binding.meter,
            subscription_id=binding.subscription_id,
            item_id=binding.item_id,
            bound_from=binding.bound_from,
            bound_until=binding.bound_until,
            asset_id=binding.asset_id,
            version=binding.version,
            created_at=binding.created_at,
        )

"""Requests and answers about features."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import Code, Description, Instant, Metadata, Name, StrictBody, identifier
from services.catalog.domain.feature import Feature, FeatureDetails, FeatureKind
from services.catalog.entrypoints.bodies import Unit, examples

FeatureId = Annotated[str, identifier("ftr"), Field(examples=["ftr_01jz3v6m1qk0c8n4r2d5s7t9wx"])]

_FEATURE: dict[str, Any] = {
    "code": "washes",
    "name": "Washes included",
    "kind": "metered",
    "meter": "washes",
    "unit": "wash",
    "description": "Completed cycles of the machine",
    "metadata": {},
}


class FeatureCreateBody(StrictBody):
    """A switch is on or off; a limit is a number that the plan says; metered use is counted by `meter`.

    `code`, `kind` and `meter` never change.
    """

    model_config = examples(
        _FEATURE, {"code": "api", "name": "API access", "kind": "switch", "description": "Keys of one's own"}
    )

    code: Code = Field(examples=["washes"])
    name: Name
    kind: FeatureKind = Field(examples=["metered"])
    meter: Code | None = Field(default=None, examples=["washes"])
    unit: Unit | None = None
    description: Description = ""
    metadata: Metadata = Field(default_factory=dict)

    def details(self) -> FeatureDetails:
        return FeatureDetails(**{name: getattr(self, name) for name in FeatureDetails.__slots__})


class FeatureChangeBody(StrictBody):
    """What is left out stays as it is. `unit` is taken away by null."""

    model_config = examples({"name": "Washes each month", "unit": "wash"})

    name: Name | SkipJsonSchema[None] = None
    unit: Unit | None = None
    description: Description | SkipJsonSchema[None] = None
    metadata: Metadata | SkipJsonSchema[None] = None

    @field_validator("name", "description", "metadata", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def apply(self, details: FeatureDetails) -> FeatureDetails:
        return replace(details, **{name: getattr(self, name) for name in self.model_fields_set})


class FeatureBody(StrictBody):
    model_config = examples(
        {
            "id": "ftr_01jz3v6m1qk0c8n4r2d5s7t9wx",
            **_FEATURE,
            "version": 1,
            "created_at": "2025-06-01T12:00:00Z",
            "archived_at": None,
        }
    )

    id: str
    code: str
    name: str
    kind: FeatureKind
    meter: str | None
    unit: str | None
    description: str
    metadata: dict[str, str]
    version: int
    created_at: Instant
    archived_at: Instant | None

    @classmethod
    def from_domain(cls, feature: Feature) -> Self:
        return cls(
            id=feature.id,
            code=feature.code,
            kind=feature.kind,
            meter=feature.meter,
            **{name: getattr(feature.details, name) for name in FeatureDetails.__slots__},
            version=feature.version,
            created_at=feature.created_at,
            archived_at=feature.archived_at,
        )

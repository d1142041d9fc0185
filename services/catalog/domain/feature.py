"""A feature: one thing that plans let a customer do. A switch, a limit, or an allowance that a meter counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, InputError, InvalidInput, NotFound

FeatureKind = Literal["switch", "limit", "metered"]


class FeatureNotFound(NotFound):
    """No feature of this tenant has this id."""

    code = "feature_not_found"
    title = "There is no such feature"


class FeatureCodeTaken(Conflict):
    """Another feature of this tenant has the code, perhaps an archived one."""

    code = "feature_code_taken"
    title = "The feature code is taken"


class FeatureArchived(Conflict):
    """An archived feature is kept for the plans that grant it, and changes no more."""

    code = "feature_archived"
    title = "The feature is archived"


class FeatureInvalid(InvalidInput):
    """All that is wrong is listed, each with its place and what to do."""

    code = "feature_invalid"
    title = "The feature is invalid"


class FeatureMeterUnknown(FeatureInvalid):
    """All that is wrong is that the catalog has not heard of the meter (yet)."""

    code = "feature_meter_unknown"
    title = "There is no meter for the feature"


@dataclass(frozen=True, slots=True)
class FeatureDetails:
    """What of a feature may change: not its code, its kind or its meter."""

    name: str
    unit: str | None
    description: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Feature:
    """How much of it a plan gives stands in the plan. `unit` is what a limit or an allowance is counted in."""

    id: str
    code: str
    kind: FeatureKind
    meter: str | None
    details: FeatureDetails
    version: int
    created_at: datetime
    archived_at: datetime | None = None

    @property
    def archived(self) -> bool:
        return self.archived_at is not None


def check_feature(feature: Feature, *, meters: frozenset[str]) -> None:
    """Refuse what could not be granted. `meters` are those that the feature names and that exist.

    Raises: FeatureInvalid, with every fault; FeatureMeterUnknown, when there is no other.
    """
    faults = list(_feature_faults(feature))
    unknown: list[InputError] = []
    if not faults and feature.meter is not None and feature.meter not in meters:
        detail = f"there is no meter {feature.meter}: define it first (POST /v1/meters)"
        unknown = [{"pointer": "/meter", "detail": detail}]
    if faults or unknown:
        refusal = FeatureInvalid if faults else FeatureMeterUnknown
        raise refusal(
            "the feature cannot be granted like this: see errors",
            errors=[*faults, *unknown],
            remedy="Correct what is listed and send it again.",
        )


def change_details(feature: Feature, details: FeatureDetails) -> Feature:
    """The feature with these details; itself when they are the same. Published plans keep what they grant.

    Raises: FeatureArchived, FeatureInvalid.
    """
    if details == feature.details:
        return feature
    if feature.archived:
        raise FeatureArchived(
            "an archived feature cannot be changed",
            feature_id=feature.id,
            remedy="Make a new feature with another code.",
        )
    changed = replace(feature, details=details, version=feature.version + 1)
    check_feature(changed, meters=frozenset({feature.meter} if feature.meter else ()))
    return changed


def archive(feature: Feature, now: datetime) -> Feature:
    """No new draft may grant it from now on; published plans go on. Archiving twice is harmless."""
    if feature.archived:
        return feature
    return replace(feature, archived_at=now, version=feature.version + 1)


def _feature_faults(feature: Feature) -> Iterator[InputError]:
    if feature.kind == "metered" and feature.meter is None:
        yield {"pointer": "/meter", "detail": "a metered feature names the meter that counts its use"}
    if feature.kind != "metered" and feature.meter is not None:
        detail = f"a {feature.kind} is not counted by a meter: leave it out, or make the feature metered"
        yield {"pointer": "/meter", "detail": detail}
    if feature.kind == "switch" and feature.details.unit is not None:
        yield {"pointer": "/unit", "detail": "a switch is on or off and has no unit: leave it out"}

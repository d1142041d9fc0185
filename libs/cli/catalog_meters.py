"""The meters of a catalog file: metering owns them, so they are looked for and defined there, before the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from libs.cli.deployment import Deployment
from libs.common.errors import InputError

Meter = Mapping[str, Any]

# What a meter is, with what stands for each where it is left out.
_FIELDS: Mapping[str, Any] = {
    "event_type": None,
    "aggregation": None,
    "value": None,
    "group_by": [],
    "filter": {},
    "unit": None,
    "description": None,
}


def missing_meters(deployment: Deployment, wanted: Sequence[Meter]) -> tuple[list[Meter], list[InputError]]:
    """Those that are not defined yet; and where the others are defined otherwise, which never changes.

    Raises: Unreachable, Refused.
    """
    missing, faults = [], []
    for position, meter in enumerate(wanted):
        known = find_meter(deployment, meter["code"])
        if known is None:
            missing.append(meter)
            continue
        for name in _different(known, meter):
            detail = (
                f"the meter {meter['code']} is defined already, with the {name} {known[name] or 'none'}, and meters "
                "never change: write it so, or choose another code"
            )
            faults.append(InputError(pointer=f"/meters/{position}/{name}", detail=detail))
    return missing, faults


def find_meter(deployment: Deployment, code: str) -> Meter | None:
    found: list[Meter] = deployment.get("/v1/meters", code=code)["data"]
    return found[0] if found else None


def meters_named(deployment: Deployment, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The definitions of all meters that prices and features of the document name, by code."""
    named = {price.get("meter") for plan in document.get("plans", ()) for price in plan["prices"]}
    named |= {feature.get("meter") for feature in document.get("features", ())}
    codes = sorted(code for code in named if code is not None)
    found = (find_meter(deployment, code) for code in codes)
    return [_told(meter) for meter in found if meter is not None]


def _told(meter: Meter) -> dict[str, Any]:
    """As a file has it, without what says nothing."""
    told = {name: meter[name] for name in _FIELDS if meter[name]}
    return {"code": meter["code"], **told}


def _different(known: Meter, wanted: Meter) -> Iterable[str]:
    return (
        name
        for name, none in _FIELDS.items()
        if _plain(name, known[name]) != _plain(name, wanted.get(name, none))
    )


def _plain(name: str, value: Any) -> Any:
    """As metering tells it: a dimension by its name, the values of a filter in order."""
    if name == "group_by" and isinstance(value, list):
        return [dimension.removeprefix("/") for dimension in value]
    if name == "filter" and isinstance(value, dict):
        return {pointer: sorted(set(values)) for pointer, values in value.items()}
    return value

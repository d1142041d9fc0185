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
    "value_expression": None,
    "group_by": [],
    "filter": {},
    "exclude": [],
    "filter_expression": None,
    "operation": None,
    "keeps": False,
    "level": None,
    "per": None,
    "by_day": False,
    "peak_of": None,
    "counter": None,
    "unit": None,
    "description": None,
}
# What metering says of a meter of which the file left it out, by its aggregation.
_FILLED_IN: Mapping[str, Mapping[str, Any]] = {
    "time_weighted": {"level": "absolute", "per": "hour"},
    "peak": {"peak_of": "15m"},
}
_COUNTER: Mapping[str, Any] = {
    "register_digits": None,
    "decimals": 0,
    "rate_max": None,
    "estimate": None,
    "backwards": "hold",
}
_ESTIMATE: Mapping[str, Any] = {"policy": "mean_of_last", "periods": 3, "in_a_row": 2}


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
    told = {name: meter[name] for name in _FIELDS if meter.get(name)}
    if "counter" in told:
        for implied in _of_counter(meter["code"]):
            del told[implied]
        told["counter"] = {name: value for name, value in told["counter"].items() if value is not None}
    return {"code": meter["code"], **told}


def _of_counter(code: str) -> Meter:
    """What a meter that takes readings is, whatever its counter."""
    return {"event_type": f"perennial.reading.{code}", "aggregation": "sum", "value": "/quantity"}


def _different(known: Meter, wanted: Meter) -> Iterable[str]:
    if wanted.get("counter") is not None:
        wanted = {**_of_counter(wanted["code"]), **wanted}
    filled_in = {**_FIELDS, **_FILLED_IN.get(wanted["aggregation"], {})}
    return (
        name
        for name, none in filled_in.items()
        if _plain(name, known.get(name, none)) != _plain(name, wanted.get(name, none))
    )


def _plain(name: str, value: Any) -> Any:
    """As metering tells it: a dimension by its name, the values of a filter in order."""
    if name == "group_by" and isinstance(value, list):
        return [part.removeprefix("/") if isinstance(part, str) else part for part in value]
    if name == "counter" and isinstance(value, dict):
        estimate = value.get("estimate")
        told = {**_COUNTER, **value}
        return told if estimate is None else {**told, "estimate": {**_ESTIMATE, **estimate}}
    if name == "filter" and isinstance(value, dict):
        return _plain_filter(value)
    if name == "exclude" and isinstance(value, list):
        return [_plain_filter(out) for out in value]
    return value


def _plain_filter(told: Mapping[str, Sequence[str | None]]) -> Mapping[str, Sequence[str | None]]:
    return {
        pointer: sorted(set(values), key=lambda value: (value is None, value))
        for pointer, values in told.items()
    }

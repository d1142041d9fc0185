"""Aggregation cases on the real service: a meter is defined, events are sent to it, and it is asked what was used.

What sources tell otherwise is translated on the way there and back, as `docs/conventions.md` says; no quantity is worked
out here that the service can be asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any
from uuid import uuid4

from tests.cases.case_files import Case, as_instant
from tests.cases.comparison import AnyOf, AnyOrder
from tests.cases.quantities import rounded_quantity
from tests.cases.server import SERVER, Perennial

Thing = dict[str, Any]

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
NUMBER = "number_in_case"
CHANGES: Thing = {"aggregation": "time_weighted", "value": "/value", "level": "change", "per": "window"}
METERS: Mapping[str, Thing] = {
    "count": {"aggregation": "count"},
    "sum": {"aggregation": "sum", "value": "/value"},
    "min": {"aggregation": "min", "value": "/value"},
    "max": {"aggregation": "max", "value": "/value"},
    "avg": {"aggregation": "average", "value": "/value"},
    "latest": {"aggregation": "latest", "value": "/value"},
    "unique_count": {"aggregation": "unique", "value": "/value"},
    "weighted_sum": CHANGES,
    "prorated_sum": {**CHANGES, "by_day": True},
    "prorated_unique_count": {**CHANGES, "by_day": True},
}
GIVEN = (
    "function", "events", "period", "filter", "exclude", "group_by", "service_window", "window", "time_zone",
    "period_days", "carry_in", "recurring",
)  # fmt: skip
EVENTS_A_REQUEST = 5_000


class Metered:
    """The events of one case under a type and a subject of their own, and the meters that read them."""

    def __init__(self, case: Case, perennial: Perennial) -> None:
        case.has_only(*GIVEN)
        self.case, self._perennial = case, perennial
        self._code = f"case-{case.id[-8:]}-{uuid4().hex[:6]}".lower()
        self.start, self.end = _bounds(case)
        self.meter = self.define(case.given["function"])
        self._send(_sent(case, self.start))

    def define(self, function: str, *, group_by: Sequence[str] = ()) -> str:
        """The code of a meter that sees the same events as the case's own."""
        given, code = self.case.given, f"{self._code}-{uuid4().hex[:4]}"
        body: Thing = {"code": code, "event_type": self._code, **METERS[function]}
        body["group_by"] = [*given.get("group_by", ()), *group_by]
        body["filter"] = _by_pointer(given.get("filter") or {})
        body["exclude"] = [_by_pointer(out) for out in given.get("exclude") or ()]
        if function == "unique_count" and any("operation" in event for event in given["events"]):
            body |= {"operation": "/operation", "keeps": bool(given.get("recurring"))}
        self._perennial.post("/v1/meters", body)
        return code

    def ask(
        self,
        meter: str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        **how: Any,
    ) -> list[Thing]:
        bounds = {"from": (start or self.start).isoformat(), "to": (end or self.end).isoformat()}
        question = {"meter": meter or self.meter, "subject": self._code, "zone": self.case.zone}
        return self._perennial.pages("/v1/usage", **question, **bounds, **how)

    def ask_one(self, meter: str | None = None, **bounds: datetime) -> Thing:
        [row] = self.ask(meter, **bounds)
        return row

    def _send(self, events: Sequence[Thing]) -> None:
        common = {"specversion": "1.0", "type": self._code, "subject": self._code}
        sent = [{**event, **common, "source": f"{self._code}/{event['source']}"} for event in events]
        copies: list[Thing] = []
        if "dedup" in self.case.convention:
            sent, copies = _by_id_and_time(sent)
        for first in range(0, len(sent), EVENTS_A_REQUEST):
            self._perennial.post("/v1/usage-events", sent[first : first + EVENTS_A_REQUEST])
        if copies:
            amendments = [{"event": copy, "reason": "It was sent again."} for copy in copies]
            self._perennial.post("/v1/usage-events/amendments", {"amendments": amendments})


def aggregate(case: Case) -> Mapping[str, Any]:
    """Of what a level still holds, events before the period are behind the figure too."""
    metered = Metered(case, SERVER.perennial())
    row = metered.ask_one()
    quantity, count = Decimal(row["quantity"]), row["event_count"]
    found: Thing = {"value": _rounded(case, quantity), "count": count}
    if case.given["function"] == "latest" and not count:
        found["value"] = AnyOf([quantity, None])
    if case.given.get("recurring"):
        found["count"] = metered.ask_one(metered.define("count"), start=_first(case))["event_count"]
    if "unprorated" in case.expect:
        found["unprorated"] = Decimal(metered.ask_one(metered.define("sum"))["quantity"])
    if "closing_level" in case.expect:
        found["closing_level"] = Decimal(metered.ask_one(start=metered.end - MOMENT)["quantity"])
    return found


def grouped(case: Case) -> Mapping[str, Any]:
    metered = Metered(case, SERVER.perennial())
    return {
        "groups": AnyOrder(
            [
                {
                    "keys": row["group"],
                    "value": _rounded(case, Decimal(row["quantity"])),
                    "count": row["event_count"],
                }
                for row in metered.ask(group_by=case.given["group_by"])
            ]
        )
    }


def windowed(case: Case) -> Mapping[str, Any]:
    """The service lists windows in which nothing happened too: who leaves them out sees by the count which they are."""
    metered = Metered(case, SERVER.perennial())
    rows = metered.ask(window=case.given["window"])
    every = [_window(row) for row in rows]
    used = [_window(row) for row in rows if row["event_count"]]
    leaves_out = case.names("empty_windows") == "left out"
    return {
        "windows": AnyOrder(used) if leaves_out else AnyOf([AnyOrder(every), AnyOrder(used)]),
        "value": Decimal(metered.ask_one()["quantity"]),
    }


def per_event(case: Case) -> Mapping[str, Any]:
    """What each event by itself comes to: grouped by a number that each has."""
    metered = Metered(case, SERVER.perennial())
    single = metered.define(case.given["function"], group_by=[NUMBER])
    rows = metered.ask(single, group_by=NUMBER)
    rows.sort(key=lambda row: int(row["group"][NUMBER]))
    return {"values": [_rounded(case, Decimal(row["quantity"])) for row in rows]}


def level_breakdown(case: Case) -> Mapping[str, Any]:
    """From one event to the next the level stands still: it is asked for step by step."""
    metered = Metered(case, SERVER.perennial())
    instants = {as_instant(event["at"]) for event in case.given["events"]}
    inner = {at for at in instants if metered.start < at < metered.end}
    steps = []
    for start, end in pairwise(sorted({metered.start, metered.end} | inner)):
        level = Decimal(metered.ask_one(start=start, end=end)["quantity"])
        share = Fraction((end - start) // MOMENT, (metered.end - metered.start) // MOMENT)
        seconds = (end - start) // timedelta(seconds=1)
        steps.append(
            {"at": start, "level": level, "seconds": seconds, "contribution": Fraction(level) * share}
        )
    return {"steps": steps}


def quantity_rounding(case: Case) -> Mapping[str, Any]:
    given = case.given
    return {"units": rounded_quantity(case.number("units"), given.get("rounding"), given.get("precision"))}


def _window(row: Thing) -> Thing:
    return {
        "from": as_instant(row["from"]),
        "to": as_instant(row["to"]),
        "value": Decimal(row["quantity"]),
        "count": row["event_count"],
    }


def _bounds(case: Case) -> tuple[datetime, datetime]:
    """The period, and within it the time for which a priced item is there; what is prorated is so by the whole period."""
    period = case.given["period"]
    within = case.given.get("service_window") or period
    start = max(as_instant(each["from"]) for each in (period, within))
    end = min(as_instant(each["to"]) for each in (period, within))
    return (end - case.given["period_days"] * DAY if "period_days" in case.given else start), end


def _first(case: Case) -> datetime:
    return min(as_instant(event["at"]) for event in case.given["events"])


def _sent(case: Case, start: datetime) -> list[Thing]:
    """The events as the service takes them, in order of arrival; what a level began with is one before the period."""
    function, sent = case.given["function"], []
    if "carry_in" in case.given:
        sent.append(_event({"at": _text(start - DAY), "value": case.given["carry_in"]}, 0))
    given = case.given["events"]
    if function == "prorated_unique_count":
        given = _comings_and_goings(given)
    if METERS[function].get("level") and not case.given.get("recurring"):
        # A level goes on until it is changed: where a source lets it begin with the period, that is all it is told of.
        begins = as_instant(case.given["period"]["from"])
        given = [event for event in given if as_instant(event["at"]) >= begins]
    for number, event in enumerate(given, start=1):
        sent += [_event(event, number) for _ in range(event.get("repeat", 1))]
    return sent


def _by_id_and_time(events: Sequence[Thing]) -> tuple[list[Thing], list[Thing]]:
    """Where an event is known by its id and its time, both together are its id here; whoever lets a copy that comes
    later count instead says so, by an amendment.
    """
    sent: dict[str, Thing] = {}
    copies: list[Thing] = []
    for event in events:
        told = {**event, "id": f"{event['id']}@{event['time']}"}
        if told["id"] in sent:
            copies.append(told)
        else:
            sent[told["id"]] = told
    return list(sent.values()), copies


def _event(event: Thing, number: int) -> Thing:
    data = {**(event.get("properties") or {}), NUMBER: number}
    data |= {name: event[name] for name in ("value", "operation", "subject") if name in event}
    return {
        "id": event.get("id") or uuid4().hex,
        "source": event.get("source", "source"),
        "time": event["at"],
        "data": data,
    }


def _comings_and_goings(events: Sequence[Thing]) -> list[Thing]:
    """Who is there as changes of a level: one more on the day of coming, one less on the day after that of going."""
    days: dict[tuple[str, str], list[list[datetime]]] = {}
    named: dict[str, Thing] = {}
    for event in sorted(events, key=lambda each: as_instant(each["at"])):
        properties = event.get("properties") or {}
        group = repr(sorted(properties.items()))
        named[group] = properties
        at = as_instant(event["at"])
        day, stays = (
            datetime(at.year, at.month, at.day, tzinfo=UTC),
            days.setdefault((group, event["value"]), []),
        )
        is_there = bool(stays) and len(stays[-1]) == 1
        if event["operation"] == "remove" and is_there:
            stays[-1].append(day + DAY)
        elif event["operation"] == "add" and not is_there:
            if stays and day < stays[-1][1]:  # gone and back on one day: it was there all the time
                stays[-1].pop()
            else:
                stays.append([day])
    return [
        {"at": _text(at), "value": value, "properties": named[group]}
        for (group, _), stays in days.items()
        for stay in stays
        for at, value in zip(stay, ("1", "-1"), strict=False)
    ]


def _by_pointer(filter: Mapping[str, Sequence[str | None]]) -> Mapping[str, Sequence[str | None]]:
    return {f"/{name}": values for name, values in filter.items()}


def _rounded(case: Case, quantity: Decimal) -> Any:
    """As the price of the meter would, where the source's quantities are rounded before they are priced."""
    up = case.names("rounding").startswith("ceiling to 5 decimals")
    return rounded_quantity(quantity, "ceil", 5) if up else quantity


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "aggregate": aggregate,
    "grouped": grouped,
    "windowed": windowed,
    "per_event": per_event,
    "level_breakdown": level_breakdown,
    "quantity_rounding": quantity_rounding,
}

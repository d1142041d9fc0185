"""A meter of every kind, said twice: as the product is told of it, and as the model goes by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

from tests.model.usage.brute_force import Meter, number_of, rounded
from tests.model.usage.history import Data

Text = Callable[[Data], str | None]


class Kind(NamedTuple):
    """`said` is what `POST /v1/meters` takes, less the code and the type of event.

    `refuses`: a fact whose amount is no number and whose user is no text is rejected, and not passed over.
    """

    name: str
    said: Mapping[str, Any]
    model: Meter
    refuses: bool = True


def amount(data: Data) -> Fraction | None:
    return number_of(data.get("amount"))


def made_of_amount(make: Callable[[Fraction], Fraction]) -> Callable[[Data], Fraction | None]:
    """What is worked out is rounded to 12 decimals."""

    def number(data: Data) -> Fraction | None:
        found = amount(data)
        return None if found is None else rounded(make(found))

    return number


def exceeds(bound: int) -> Callable[[Data], bool]:
    def counts(data: Data) -> bool:
        found = amount(data)
        return found is not None and found > bound

    return counts


def text(name: str) -> Text:
    def find(data: Data) -> str | None:
        found = data.get(name)
        return found if isinstance(found, str) else None

    return find


def is_free(data: Data) -> bool:
    return bool(data.get("free"))


def is_large(data: Data) -> str | None:
    return None if amount(data) is None else str(int(exceeds(5)(data)))


def _of(aggregation: Any, *dimensions: str, **options: Any) -> Meter:
    by = {name: text(name) for name in dimensions}
    return Meter(aggregation, number=amount, name=text("user"), dimensions=by, **options)


AMOUNT = {"value": "/amount"}
USER = {"aggregation": "unique", "value": "/user"}
LEVEL = {"aggregation": "time_weighted", **AMOUNT}
KIND = {"group_by": ["kind"]}
BOTH = {"group_by": ["kind", "place"]}
LARGE = {"name": "large", "expression": 'if(event("/amount") > 5, 1, 0)'}

KINDS = (
    Kind(
        "count",
        {
            "aggregation": "count",
            "filter": {"/kind": ["x", None]},
            "exclude": [{"/free": ["true"], "/place": ["A", None]}, {"/user": ["eve"]}],
            "group_by": ["place"],
        },
        Meter(
            "count",
            counts=lambda d: (
                d.get("kind") in ("x", None)
                and not (is_free(d) and d.get("place") in ("A", None))
                and d.get("user") != "eve"
            ),
            dimensions={"place": text("place")},
        ),
        refuses=False,
    ),
    Kind("sum", {"aggregation": "sum", **AMOUNT, **BOTH}, _of("sum", "kind", "place")),
    Kind("min", {"aggregation": "min", **AMOUNT, **KIND}, _of("min", "kind")),
    Kind("max", {"aggregation": "max", **AMOUNT, **KIND}, _of("max", "kind")),
    Kind("average", {"aggregation": "average", **AMOUNT, **BOTH}, _of("average", "kind", "place")),
    Kind("latest", {"aggregation": "latest", **AMOUNT, **KIND}, _of("latest", "kind")),
    Kind("names", {**USER, **BOTH}, _of("unique", "kind", "place")),
    Kind(
        "names-in-and-out",
        {**USER, **KIND, "operation": "/did"},
        _of("unique", "kind", is_in=lambda d: d.get("did") != "remove"),
    ),
    Kind(
        "names-kept",
        {**USER, **KIND, "operation": "/did", "keeps": True},
        _of("unique", "kind", is_in=lambda d: d.get("did") != "remove", keeps=True),
    ),
    Kind("level", {**LEVEL, **KIND}, _of("time_weighted", "kind")),
    Kind("level-mean", {**LEVEL, "per": "window"}, _of("time_weighted", per="window")),
    Kind(
        "level-seconds",
        {**LEVEL, "level": "absolute", "per": "second", "filter": {"/free": ["false", None]}},
        Meter("time_weighted", number=amount, counts=lambda d: not is_free(d), per="second"),
    ),
    Kind(
        "changes",
        {**LEVEL, **BOTH, "level": "change", "per": "day"},
        _of("time_weighted", "kind", "place", level="change", per="day"),
    ),
    Kind(
        "changes-mean",
        {**LEVEL, "level": "change", "per": "window"},
        _of("time_weighted", level="change", per="window"),
    ),
    Kind(
        "changes-by-day",
        {**LEVEL, **KIND, "level": "change", "per": "window", "by_day": True},
        _of("time_weighted", "kind", level="change", per="window", by_day=True),
    ),
    Kind("peak", {"aggregation": "peak", **AMOUNT, **KIND}, _of("peak", "kind")),
    Kind(
        "peak-half-hour",
        {"aggregation": "peak", **AMOUNT, "peak_of": "30m"},
        _of("peak", peak_of=timedelta(minutes=30)),
    ),
    Kind(
        "peak-hour",
        {"aggregation": "peak", **AMOUNT, **KIND, "peak_of": "1h"},
        _of("peak", "kind", peak_of=timedelta(hours=1)),
    ),
    Kind(
        "sum-worked-out",
        {
            "aggregation": "sum",
            "value_expression": 'event("/amount") * 2 + 1',
            "filter_expression": 'event("/amount") > 0 and event("/kind") != "y"',
            "group_by": [LARGE, "place"],
        },
        Meter(
            "sum",
            number=made_of_amount(lambda number: 2 * number + 1),
            counts=lambda d: exceeds(0)(d) and d.get("kind") != "y",
            dimensions={"large": is_large, "place": text("place")},
        ),
        refuses=False,
    ),
    Kind(
        "average-worked-out",
        {"aggregation": "average", "value_expression": 'event("/amount") / 3', **KIND},
        Meter(
            "average",
            number=made_of_amount(lambda number: number / 3),
            dimensions={"kind": text("kind")},
        ),
    ),
    Kind(
        "latest-worked-out",
        {"aggregation": "latest", "value_expression": 'floor(event("/amount"))'},
        Meter("latest", number=made_of_amount(lambda number: Fraction(floor(number)))),
    ),
    Kind(
        "level-worked-out",
        {
            "aggregation": "time_weighted",
            "value_expression": 'max(event("/amount"), 0)',
            "group_by": [LARGE],
        },
        Meter(
            "time_weighted",
            number=made_of_amount(lambda number: max(number, Fraction(0))),
            dimensions={"large": is_large},
        ),
    ),
    Kind(
        "changes-worked-out",
        {
            "aggregation": "time_weighted",
            "level": "change",
            "per": "minute",
            "value_expression": 'event("/amount") * 3',
        },
        Meter(
            "time_weighted", number=made_of_amount(lambda number: 3 * number), level="change", per="minute"
        ),
    ),
    Kind(
        "names-of-large-ones",
        {**USER, "filter_expression": 'event("/amount") > 5', "group_by": ["place"]},
        Meter(
            "unique",
            name=text("user"),
            counts=exceeds(5),
            dimensions={"place": text("place")},
        ),
        refuses=False,
    ),
)


def only_paid(kind: Kind) -> Kind:
    """The same, of facts that are not free."""
    filter = {**kind.said.get("filter", {}), "/free": ["false", None]}
    counts = kind.model.counts
    model = replace(kind.model, counts=lambda data: counts(data) and not is_free(data))
    return kind._replace(said={**kind.said, "filter": filter}, model=model)


def tenfold(kind: Kind) -> Kind:
    """The same of ten times the amount, where it is the amount that counts."""
    if kind.said.get("value") != "/amount":
        return kind
    said = {name: value for name, value in kind.said.items() if name != "value"}
    model = replace(kind.model, number=made_of_amount(lambda number: 10 * number))
    return kind._replace(said={**said, "value_expression": 'event("/amount") * 10'}, model=model)


def by_place(kind: Kind) -> Kind:
    """The same with no dimension but the place."""
    model = replace(kind.model, dimensions={"place": text("place")})
    return kind._replace(said={**kind.said, "group_by": ["place"]}, model=model)


CHANGES = (only_paid, tenfold, by_place)
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}

"""Every route of the catalog shows what it reads and what it answers, and what is shown is as the document says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonschema
import pytest

from deploy.contracts import FOLDER
from libs.common.web.examples import example_of

# As it is stored, which is as the code says: another test compares them.
DOCUMENT = json.loads((FOLDER / "openapi-catalog.json").read_text(encoding="utf-8"))


class Shown(NamedTuple):
    """One body: what a route reads, or what it answers when it succeeds."""

    name: str
    content: dict[str, Any]


def bodies() -> Iterator[Shown]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            for content in operation.get("requestBody", {}).get("content", {}).values():
                yield Shown(f"{name} reads", content)
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    for content in answer.get("content", {}).values():
                        yield Shown(f"{name} answers {status}", content)


BODIES = list(bodies())


def test_every_route_answers_something_or_always_refuses() -> None:
    shown = {body.name.split(" answers")[0] for body in BODIES if " answers" in body.name}
    routes = {
        f"{method.upper()} {path}": operation["responses"]
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    }
    without = {route for route in routes if route not in shown}
    assert all(not status.startswith("2") for route in without for status in routes[route])
    assert without == {
        "PATCH /v1/plans/{plan_id}/versions/{number}",
        "PUT /v1/plans/{plan_id}/versions/{number}",
    }


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.name)
def test_an_example_is_as_the_schema_says_and_says_something(body: Shown) -> None:
    schema = {**body.content["schema"], "components": DOCUMENT["components"]}
    example = body.content["example"]
    jsonschema.Draft202012Validator(schema).validate(example)
    assert '"text"' not in json.dumps(example), "put together from parts that say nothing"


def test_parameters_say_what_they_look_like() -> None:
    bare = [
        f"{method} {path}: {parameter['name']}"
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path" and example_of(parameter["schema"], {}) in ("text", None)
    ]
    assert bare == []


SCHEMAS = {
    "Part": {
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "integer", "minimum": 3},
            "b": {"type": "null"},
            "c": {"type": "string"},
        },
    },
    "Written": {"type": "object", "required": ["a", "b"], "properties": {"b": {}}, "examples": [{"a": 1}]},
    "Loop": {"type": "object", "required": ["again"], "properties": {"again": {"$ref": "#/x/Loop"}}},
}


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"$ref": "#/x/Part"}, {"a": 3, "b": None}),
        ({"$ref": "#/x/Written"}, {"a": 1, "b": None}),
        ({"type": "array", "items": {"$ref": "#/x/Part"}}, [{"a": 3, "b": None}]),
        ({"anyOf": [{"type": "null"}, {"type": "string", "examples": ["x"]}]}, "x"),
        ({"type": "string", "format": "date-time"}, "2025-06-01T12:00:00Z"),
        ({"type": "string", "enum": ["a", "b"]}, "a"),
        ({"const": 7}, 7),
        ({"type": "boolean", "default": False}, False),
        ({"type": "boolean"}, True),
        ({"type": "string", "default": "x", "examples": ["y"]}, "y"),
    ],
)
def test_an_example_is_put_together_from_its_parts(schema: dict[str, Any], example: Any) -> None:
    assert example_of(schema, SCHEMAS) == example


def test_a_schema_that_holds_itself_comes_to_an_end() -> None:
    assert len(json.dumps(example_of({"$ref": "#/x/Loop"}, SCHEMAS))) < 1_000

"""An example of every body in the OpenAPI document: as somebody wrote it, or put together from those of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEPTH_MAX = 12
_OF_FORMATS = {
    "date-time": "2025-06-01T12:00:00Z",
    "date": "2025-06-01",
    "uuid": "0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47",
}


def add_examples(operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """Of what the operation reads and of what it answers when it succeeds, unless there is one already."""
    answers = [answer for status, answer in operation.get("responses", {}).items() if status.startswith("2")]
    for told in (operation.get("requestBody", {}), *answers):
        for content in told.get("content", {}).values():
            if content.get("schema") and not {"example", "examples"} & content.keys():
                content["example"] = example_of(content["schema"], schemas)


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """What is written at the schema comes before what stands at its parts; null comes last."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas, depth)
    if schema.get("examples"):
        return _with_nulls(schema["examples"][0], schema, schemas)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("default") is not None:
        return schema["default"]
    for word in ("anyOf", "oneOf", "allOf"):
        branches = [branch for branch in schema.get(word, ()) if branch.get("type") != "null"]
        if branches:
            return example_of(branches[0], schemas, depth)
    return _of_its_type(schema, schemas, depth)


def _with_nulls(example: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """The framework leaves nulls out of documents, examples among them: those that must be there come back."""
    if "$ref" in schema:
        return _with_nulls(example, schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    if "anyOf" in schema:
        branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
        return _with_nulls(example, branches[0], schemas) if len(branches) == 1 else example
    if isinstance(example, list) and "items" in schema:
        return [_with_nulls(item, schema["items"], schemas) for item in example]
    if isinstance(example, dict) and "properties" in schema:
        properties = schema["properties"]
        told = {name: _with_nulls(part, properties.get(name, {}), schemas) for name, part in example.items()}
        return told | {name: None for name in schema.get("required", ()) if name not in told}
    return example


def _of_its_type(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    match schema.get("type"):
        case "object" if depth < DEPTH_MAX:
            needed = schema.get("required", ())
            properties = schema.get("properties", {})
            return {
                name: example_of(properties[name], schemas, depth + 1)
                for name in needed
                if name in properties
            }
        case "array" if depth < DEPTH_MAX:
            return [example_of(schema["items"], schemas, depth + 1)] if "items" in schema else []
        case "object":
            return {}
        case "array":
            return []
        case "string":
            return _OF_FORMATS.get(schema.get("format", ""), "text")
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return None

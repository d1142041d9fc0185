"""What FastAPI and Pydantic found wrong with a request, told as JSON pointers and plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from libs.common.errors import InputError, InvalidInput, NotFound, ServiceError
from libs.common.web.nearest_name import nearest_field
from libs.common.web.problem import ERRORS_MAX

POINTER_PART_LENGTH_MAX = 64
DETAIL_LENGTH_MAX = 300

_SENTENCES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this body",
    "json_invalid": "is not valid JSON",
    "none_required": "must be null",
    "model_attributes_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "list_type": "must be a JSON array",
    "tuple_type": "must be a JSON array",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}


class InvalidBody(InvalidInput):
    """The body is JSON, but not what this route reads. Everything wrong with it is listed."""

    code: ClassVar[str] = "invalid_body"
    title: ClassVar[str] = "The body is invalid"


class InvalidParameters(InvalidInput):
    """A query parameter or a header has a value that it cannot have."""

    code: ClassVar[str] = "invalid_parameters"
    title: ClassVar[str] = "The parameters are invalid"


def refusal_of(
    found: Sequence[Mapping[str, Any]], body: object, read_as: Any = None
) -> tuple[ServiceError, list[dict[str, Any]]]:
    """The error to answer with, and what is wrong where. `found` is what Pydantic says of a request.

    `read_as` is what the body should have been: so a field that is misspelled can be told as it is spelled.
    An id in the path that could never be one is answered like the id of a thing that is not there.
    """
    places = {str(error["loc"][0]) for error in found if error["loc"]}
    if "path" in places:
        return NotFound("there is nothing at this path"), []
    errors = [_told(error, body, read_as) for error in found[:ERRORS_MAX]]
    if places <= {"query", "header", "cookie"}:
        refusal: InvalidInput = InvalidParameters("the request's parameters are invalid: see errors")
    else:
        refusal = InvalidBody("the body is invalid: see errors")
    return refusal, errors


def faults_of(found: Sequence[Mapping[str, Any]], part: object, read_as: Any, at: str) -> list[InputError]:
    """What Pydantic found wrong with a part of a document, which stands at the pointer `at`.

    What a misspelled field should be is told of those that can be shown: to find it costs time.
    """
    return [
        {
            "pointer": f"{at}{_pointer(error['loc'], part)}",
            "detail": _sentence(error, error["loc"], read_as if position < ERRORS_MAX else None),
        }
        for position, error in enumerate(found)
    ]


def _told(error: Mapping[str, Any], body: object, read_as: Any) -> dict[str, Any]:
    place, *path = error["loc"] or ("body",)
    detail = _sentence(error, path, read_as)
    if place != "body":
        return {"parameter": ".".join(map(str, path)), "in": place, "detail": detail}
    # The position of a syntax error is no place in the document.
    return {"pointer": "" if error["type"] == "json_invalid" else _pointer(path, body), "detail": detail}


def _sentence(error: Mapping[str, Any], path: Sequence[str | int], read_as: Any) -> str:
    """Pydantic tells what was expected, never what came; a validator of ours might, hence the cut."""
    known = _SENTENCES.get(error["type"])
    if error["type"] == "extra_forbidden" and (meant := nearest_field(read_as, path)):
        return f"{known}: did you mean {meant}?"
    message = known or str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return message if len(message) <= DETAIL_LENGTH_MAX else message[: DETAIL_LENGTH_MAX - 1] + "…"


def _pointer(path: Sequence[str | int], body: object) -> str:
    """Where it is in the document that came.

    Pydantic also names the branch of a union that it tried; such a part is not in the document and is left
    out, except at the end, where it is the name of a missing field.
    """
    parts: list[str] = []
    here: Any = body
    for position, part in enumerate(path):
        there = _has(here, part)
        if not there and not (isinstance(here, dict) and position == len(path) - 1):
            continue
        here = here[part] if there else None
        parts.append(_escaped(str(part)))
    return "".join(f"/{part}" for part in parts)


def _has(here: object, part: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and part < len(here)
    return isinstance(here, dict) and part in here


def _escaped(part: str) -> str:
    cut = part if len(part) <= POINTER_PART_LENGTH_MAX else part[: POINTER_PART_LENGTH_MAX - 1] + "…"
    return cut.replace("~", "~0").replace("/", "~1")

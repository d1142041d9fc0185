"""The OpenAPI document: what every route shares is added here, so that no route has to repeat it.

Bearer tokens with their scope, the headers Idempotency-Key, If-Match and If-None-Match, and the problems that
a request of its kind may meet.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.params import Depends
from fastapi.routing import APIRoute

from libs.common.access.scopes import OPERATE, SCOPES
from libs.common.web.calls import Authorised
from libs.common.web.etag import NAMED_BY_VERSION
from libs.common.web.examples import add_examples
from libs.common.web.idempotency import KEPT_FOR, KEY_LENGTH_MAX
from libs.common.web.problem import MEDIA_TYPE, Problem

_ALWAYS = (400, 401, 403, 404, 422, 429, 500, 503)
_WITH_BODY = (408, 413, 415)
_CHANGING = (409, 412)
_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class RouteAccess:
    """One route as the tests that try every route see it."""

    name: str
    method: str
    path: str
    access: Authorised


def route_accesses(app: FastAPI) -> list[RouteAccess]:
    """Every route that needs a token, and what it asks of it."""
    return [
        RouteAccess(name=name, method=method, path=path, access=found[0])
        for name, path, methods, found in _routes(app)
        for method in sorted(methods)
        if found
    ]


def check_routes(app: FastAPI, *, guarded: tuple[str, ...], open_prefixes: tuple[str, ...]) -> None:
    """Mistakes that must not wait for a request: a route without a scope, or one name for two routes."""
    names: set[str] = set()
    for name, path, _, found in _routes(app):
        assert name not in names, f"two routes are named {name}: operation ids would not be stable"
        names.add(name)
        if path.startswith(guarded) and not path.startswith(open_prefixes):
            assert len(found) == 1, f"route {name} must depend on authorised(...) exactly once"
        for access in found:
            assert access.scope in SCOPES, f"route {name} asks for an unknown scope {access.scope}"


def complete(app: FastAPI, document: dict[str, Any]) -> dict[str, Any]:
    """`document` as FastAPI made it, with everything that routes share."""
    document = _with_plain_names(document)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template=_REFERENCE)
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": _scopes_told()}
    }
    components["responses"] = {str(status): _problem_response(status) for status in _all_statuses()}
    for found in route_accesses(app):
        operation = document["paths"].get(found.path, {}).get(found.method.lower())
        if operation is not None:
            add_examples(operation, schemas)
            _complete_operation(operation, found)
    return document


def _with_plain_names(document: dict[str, Any]) -> dict[str, Any]:
    """Pages are called after what is on them: `InvoicePage`, not `Page_InvoiceBody_`."""
    text = json.dumps(document)
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        if name.startswith("Page_"):
            text = text.replace(f'"{name}":', f'"{schema["title"]}":')
            text = text.replace(
                f'"{_REFERENCE.format(model=name)}"', f'"{_REFERENCE.format(model=schema["title"])}"'
            )
    renamed: dict[str, Any] = json.loads(text)
    return renamed


def _routes(app: FastAPI) -> Iterator[tuple[str, str, set[str], list[Authorised]]]:
    for route in app.routes:
        if isinstance(route, APIRoute):
            yield route.name, route.path_format, route.methods or set(), list(_accesses(route.endpoint))


def _accesses(endpoint: Callable[..., Any]) -> Iterator[Authorised]:
    """What the route's own parameters ask for, each `Annotated[Call[Uow], authorised(...)]`, mostly by a name."""
    for annotation in inspect.get_annotations(endpoint, eval_str=True).values():
        for told in getattr(annotation, "__metadata__", ()):
            if isinstance(told, Depends) and isinstance(told.dependency, Authorised):
                yield told.dependency


def _complete_operation(operation: dict[str, Any], route: RouteAccess) -> None:
    access = route.access
    operation["security"] = [{"bearer": []}]
    operation["x-scope"] = access.scope
    operation["x-portal"] = access.portal
    scopes = f"`{access.scope}` or `{OPERATE}`" if access.operators else f"`{access.scope}`"
    who = f"Scope: {scopes}." + (" Portal tokens see their customer's own." if access.portal else "")
    operation["description"] = f"{operation.get('description', '')}\n\n{who}".strip()
    headers = [*_key_header(access), *_version_headers(route)]
    if headers:
        operation["parameters"] = [*operation.get("parameters", []), *headers]
    responses: dict[str, Any] = operation.setdefault("responses", {})
    for told in [told for told in responses if told >= "400"]:
        if MEDIA_TYPE not in responses[told].get("content", {}):
            del responses[told]  # the framework's own word for it
    for status in _statuses(route):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    if route.method == "GET" and "{" in route.path:
        responses.setdefault("304", {"description": "Not changed since the ETag in If-None-Match."})


def _key_header(access: Authorised) -> Sequence[dict[str, Any]]:
    if access.once is None:
        return ()
    told = (
        "Makes the request safe to repeat: the same key and body get the same answer for "
        f"{KEPT_FOR.days} days. A new UUID for each new request."
    )
    return (_header("Idempotency-Key", access.once == "required", told, maxLength=KEY_LENGTH_MAX),)


def _version_headers(route: RouteAccess) -> Iterator[dict[str, Any]]:
    if route.method in NAMED_BY_VERSION:
        told = "The ETag of the version that is changed."
        if route.method == "PUT":
            yield _header("If-None-Match", False, "`*` when nothing may be there yet.")
            told += " Required unless If-None-Match is sent."
        yield _header("If-Match", route.method != "PUT", told)
    elif "{" in route.path and route.method == "POST":
        yield _header("If-Match", False, "The ETag of the version that is acted on, if it matters.")
    elif "{" in route.path:
        yield _header("If-None-Match", False, "The ETag that the reader has already.")


def _header(name: str, required: bool, told: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": told,
        "schema": {"type": "string", **schema},
    }


def _statuses(route: RouteAccess) -> Sequence[int]:
    if route.method == "GET":
        return _ALWAYS
    versioned = (428,) if route.method in NAMED_BY_VERSION else ()
    return sorted((*_ALWAYS, *_WITH_BODY, *_CHANGING, *versioned))


def _all_statuses() -> Sequence[int]:
    return sorted((*_ALWAYS, *_WITH_BODY, *_CHANGING, 428))


def _problem_response(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
    }
    if status in (429, 503):
        response["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        }
    return response


def _scopes_told() -> str:
    told = "\n".join(f"- `{scope}`: {meaning}" for scope, meaning in SCOPES.items())
    return f"A signed token. Its scopes say what it may do:\n\n{told}"

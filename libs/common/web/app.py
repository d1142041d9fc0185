"""The factory of each service's HTTP app: everything around the routes, the same everywhere.

From the outside in: the request's ids and the last catch of errors, the gate that wants a token, the limits of
bodies, then the routes. Hot routes have a lane beside all this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from libs.common.access.token import TokenVerifier
from libs.common.errors import ServiceError
from libs.common.telemetry.requests import leave_out_native_spans
from libs.common.web.calls import OpenUow
from libs.common.web.context import RequestContext, trace_id_of
from libs.common.web.docs import docs_routes
from libs.common.web.gate import GUARDED, Gate, callers_of
from libs.common.web.health import Readiness, health_routes
from libs.common.web.hot_route import HotLane, HotRoute
from libs.common.web.late_routes import LateRouter
from libs.common.web.limits import BodyLimits, BodyTooLarge, Limits
from libs.common.web.openapi import check_routes, complete
from libs.common.web.pagination import Cursors
from libs.common.web.problem import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    RouteUnknown,
    problem_from,
    problem_of,
    registered_problems,
)
from libs.common.web.validation import refusal_of

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_OPENAPI = "/openapi.json"


class ServiceApi(FastAPI):
    """FastAPI whose OpenAPI document tells what all routes share, with the `lane` that leads past it."""

    lane: HotLane | None = None

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = complete(self, super().openapi())
        return self.openapi_schema


def lanes_of(apps: Iterable[ASGIApp]) -> list[HotLane]:
    return [app.lane for app in apps if isinstance(app, ServiceApi) and app.lane is not None]


def create_app(
    *,
    service: str,
    title: str,
    routers: Sequence[LateRouter],
    verifier: TokenVerifier,
    readiness: Readiness,
    open_uow: OpenUow[Any],
    cursor_key: bytes,
    description: str = "",
    version: str = "1",
    limits: Limits | None = None,
    lifespan: Lifespan | None = None,
    routes: Sequence[BaseRoute] = (),
    metrics_app: ASGIApp | None = None,
    open_prefixes: tuple[str, ...] = (),
    hot_routes: Sequence[HotRoute] = (),
    state: Mapping[str, object] | None = None,
) -> FastAPI:
    """One service's app. What `state` holds is found at `request.app.state`.

    `routes` are plain ASGI routes beside the routers; the gate guards them too, and they ask for their scope
    with `await Authorised("usage:write")(request)`. `hot_routes` are lanes to routes that stand among the others
    as well. `cursor_key` must be the same in every process of the service, and outlive restarts.
    """
    bounds = limits or Limits()
    callers = callers_of(bounds)
    app = ServiceApi(
        title=title,
        description=description,
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url=_OPENAPI,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[
            Middleware(RequestContext),
            Middleware(Gate, verifier=verifier, limits=bounds, callers=callers, open_prefixes=open_prefixes),
            Middleware(BodyLimits, limits=bounds),
        ],
        exception_handlers={
            ServiceError: _answer_error,
            RequestValidationError: _answer_invalid,
            HTTPException: _answer_http,
        },
    )
    if hot_routes:
        app.lane = HotLane(service, routes=hot_routes, verifier=verifier, callers=callers)
    leave_out_native_spans(app)
    app.state.service = service
    app.state.open_uow = open_uow
    app.state.cursors = Cursors(cursor_key)
    for name, value in (state or {}).items():
        setattr(app.state, name, value)
    app.router.routes.extend(health_routes(readiness))
    app.router.routes.extend(docs_routes(title, {service: _OPENAPI}))
    app.router.routes.append(Route("/problems", _list_problems, include_in_schema=False))
    app.router.routes.append(Route("/problems/{code}", _show_problem, include_in_schema=False))
    if metrics_app is not None:
        app.router.routes.append(Route("/metrics", metrics_app))
    app.router.routes.extend(routes)
    for router in routers:
        app.router.routes.extend(router.routes)  # as they are: including them would work all of them out
    check_routes(app, guarded=GUARDED, open_prefixes=open_prefixes)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    return problem_from(error, trace_id=trace_id_of(request.scope))


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for nothing else"
    refusal, errors = refusal_of(error.errors(), error.body, _read_as(request))
    return problem_of(refusal, trace_id=trace_id_of(request.scope), errors=errors)


def _read_as(request: Request) -> Any:
    """What the route reads bodies as."""
    field = getattr(request.scope.get("route"), "body_field", None)
    return field.field_info.annotation if field is not None else None


async def _answer_http(request: Request, error: Exception) -> Response:
    """What the framework says on its own: no such route, not with this method, a body it cannot read."""
    assert isinstance(error, HTTPException), "registered for nothing else"
    known: ServiceError
    match error.status_code:
        case 404:
            known = RouteUnknown("there is no such route", remedy="See /docs for those that there are.")
        case 405:
            known = MethodNotAllowed(f"{request.method} is not allowed here", remedy="See the header Allow.")
        case 413:
            known = BodyTooLarge("the body is too large")
        case status if 400 <= status < 500:
            known = BadRequest("the request cannot be read")
        case _:
            known = InternalError("the request could not be carried out")
    return problem_of(known, trace_id=trace_id_of(request.scope), headers=error.headers)


async def _list_problems(request: Request) -> JSONResponse:
    return JSONResponse({"data": list(registered_problems().values())})


async def _show_problem(request: Request) -> JSONResponse:
    """What the `type` of a problem leads to. Each service knows those of all: they share one origin."""
    problem = registered_problems().get(request.path_params["code"])
    if problem is None:
        raise RouteUnknown("there is no problem of that code")
    return JSONResponse(problem)

"""The latest traces, for operators: a list, a waterfall of each, and the same as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from libs.common.access.caller import Caller
from libs.common.access.token import TokenMissing
from libs.common.errors import Forbidden, NotFound, ServiceError, Unauthenticated
from libs.common.telemetry.ring import SpanView, TraceRing, TraceSummary
from libs.common.web.problem import problem_from
from libs.common.web.trace_pages import (
    Filter,
    instant_text,
    list_page,
    login_page,
    missing_page,
    trace_page,
)

COOKIE = "perennial_ops"
OPS = "/ops"
TRACES = f"{OPS}/traces"
LIMIT_MAX = 500
FORM_LENGTH_MAX = 16_384

_ASSETS = Path(__file__).parent / "ops_assets"
_ASSET_KINDS = {"traces.css": "text/css", "traces.js": "text/javascript"}

# No text of a trace can become a script, a style, a frame or a request to elsewhere.
_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class TraceNotKept(NotFound):
    code = "trace_not_kept"
    title = "The trace is not kept here"


class NotAnOperator(Forbidden):
    code = "not_an_operator"
    title = "Operators only"


class CrossSiteSignIn(Forbidden):
    code = "cross_site_sign_in"
    title = "Signing in from another site"


def operator_only(verify: Callable[[str], Awaitable[Caller]]) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets in bearers of an operator's token, by a verifier's `verify`."""

    async def authorise(request: Request) -> None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise TokenMissing("the request carries no token", remedy="Sign in at /ops/login.")
        caller = await verify(token.strip())
        if not caller.operator:
            raise NotAnOperator("the token is not an operator's", remedy="Use a token of scope operate.")

    return authorise


class _OpsRoute(APIRoute):
    """Takes the token of a signed-in browser from its cookie, and shows browsers a form instead of a refusal."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_browser(request: Request) -> Response:
            if request.method == "POST":
                token, next_address = await _read_form(request)
                request.scope["perennial.ops_next"] = next_address
            else:
                token = request.cookies.get(COOKIE, "")
                next_address = _address_of(request)
            sent_header = "authorization" in request.headers
            shows_pages = "text/html" in request.headers.get("accept", "") and not sent_header
            if token and not sent_header:
                request = _bearing(request, token)
            try:
                return await answer(request)
            except (Unauthenticated, Forbidden, HTTPException) as refusal:
                if not shows_pages or getattr(refusal, "status_code", 401) not in {401, 403}:
                    raise
                said = str(getattr(refusal, "detail", "") or getattr(refusal, "message", "")) if token else ""
                page = login_page(next_address=next_address, refused=said)
                return HTMLResponse(
                    page, 403 if isinstance(refusal, Forbidden) else 401, headers=_PAGE_HEADERS
                )

        return answer_browser


def ops_router(ring: TraceRing, authorise: Callable[..., Any], *, prefix: str = OPS) -> APIRouter:
    """Routes under /ops. `authorise` is a dependency that raises unless an operator asks.

    It finds the token in the header Authorization, whether the caller sent that or a cookie. Everything here
    only reads; the cookie is HttpOnly and SameSite=Strict, and holds the token, which expires by itself.
    """
    router = APIRouter(route_class=_OpsRoute, include_in_schema=False, dependencies=[Depends(authorise)])

    # Plain functions run on threads: searching and drawing a thousand spans must not hold up the loop.
    @router.get("/traces")
    def show_traces(wanted: FilterDep) -> HTMLResponse:
        page = list_page(
            _list(ring, wanted),
            wanted,
            names=ring.names(),
            services=ring.services(),
            kept_mb=ring.memory_bytes / 1e6,
        )
        return HTMLResponse(page, headers=_PAGE_HEADERS)

    @router.get("/traces.json")
    def list_traces(wanted: FilterDep) -> JSONResponse:
        return JSONResponse(
            {
                "traces": [_summary_body(summary) for summary in _list(ring, wanted)],
                "kept": {
                    "by_name": ring.names(),
                    "memory_bytes": ring.memory_bytes,
                    "memory_max_bytes": ring.memory_max_bytes,
                },
            }
        )

    @router.get("/traces/{trace_id}.json")
    def get_trace(trace_id: str) -> JSONResponse:
        view = ring.find_trace(trace_id)
        if view is None:
            raise TraceNotKept("no such trace is kept by this process")
        return JSONResponse(
            {
                **_summary_body(view.summary),
                "linked_from": [summary.trace_id for summary in view.linked_from],
                "spans": [_span_body(span, view.summary) for span in view.spans],
            }
        )

    @router.get("/traces/{trace_id}")
    def show_trace(trace_id: str) -> HTMLResponse:
        view = ring.find_trace(trace_id)
        if view is None:
            return HTMLResponse(missing_page(trace_id), 404, headers=_PAGE_HEADERS)
        linked = ring.find_summaries([trace for span in view.spans for trace, _ in span.links])
        return HTMLResponse(trace_page(view, linked=linked), headers=_PAGE_HEADERS)

    @router.post("/login")
    def sign_in(request: Request) -> Response:
        # Reached with a good token only: it came as a form field and stands in the header by now.
        answer = RedirectResponse(
            _own_address(request.scope.get("perennial.ops_next", "")), 303, _PAGE_HEADERS
        )
        answer.set_cookie(
            COOKIE,
            request.headers["authorization"].partition(" ")[2],
            path=OPS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    outside = APIRouter(include_in_schema=False)

    @outside.get("/")
    def show_start() -> Response:
        return RedirectResponse(TRACES, 303)

    @outside.get("/login")
    def show_login() -> HTMLResponse:
        return HTMLResponse(login_page(next_address=TRACES), headers=_PAGE_HEADERS)

    @outside.post("/logout")
    def sign_out() -> Response:
        answer = RedirectResponse("/ops/login", 303, _PAGE_HEADERS)
        answer.delete_cookie(COOKIE, path=OPS, httponly=True, samesite="strict")
        return answer

    @outside.get("/assets/{name}")
    def get_asset(name: str) -> Response:
        if name not in _ASSET_KINDS:
            raise TraceNotKept("no such file")
        headers = {"cache-control": "max-age=300", "x-content-type-options": "nosniff"}
        return Response((_ASSETS / name).read_bytes(), media_type=_ASSET_KINDS[name], headers=headers)

    both = APIRouter(include_in_schema=False)
    both.include_router(outside, prefix=prefix)
    both.include_router(router, prefix=prefix)
    return both


def ops_app(ring: TraceRing, authorise: Callable[..., Any]) -> FastAPI:
    """The same as an app, for an origin that is no FastAPI app itself: `Mount("/ops", ops_app(...))`."""
    app = FastAPI(openapi_url=None, exception_handlers={ServiceError: _answer_error})
    app.include_router(ops_router(ring, authorise, prefix=""))
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    return problem_from(error, trace_id="0" * 32)  # these requests are not traced themselves


def _filter(
    q: Annotated[str, Query(max_length=200)] = "",
    service: Annotated[str, Query(max_length=100)] = "",
    name: Annotated[str, Query(max_length=300)] = "",
    failed: bool = False,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
) -> Filter:
    return Filter(text=q, service=service, name=name, failed_only=failed, limit=limit)


FilterDep = Annotated[Filter, Depends(_filter)]


def _list(ring: TraceRing, wanted: Filter) -> list[TraceSummary]:
    return ring.list_traces(
        text=wanted.text,
        service=wanted.service,
        name=wanted.name,
        failed_only=wanted.failed_only,
        limit=wanted.limit,
    )


def _summary_body(summary: TraceSummary) -> dict[str, Any]:
    return {
        "trace_id": summary.trace_id,
        "name": summary.name,
        "services": list(summary.services),
        "started_at": instant_text(summary.started_ns),
        "duration_us": summary.duration_ns // 1_000,
        "span_count": summary.span_count,
        "failed_count": summary.failed_count,
        "dropped_count": summary.dropped_count,
    }


def _span_body(span: SpanView, trace: TraceSummary) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "service": span.service,
        "kind": span.kind,
        "started_at": instant_text(span.started_ns),
        "offset_us": (span.started_ns - trace.started_ns) // 1_000,
        "duration_us": span.duration_ns // 1_000,
        "failed": span.failed,
        "status": span.status_text,
        "attributes": span.attributes,
        "events": [
            {"name": event.name, "at": instant_text(event.at_ns), "attributes": event.attributes}
            for event in span.events
        ],
        "links": [{"trace_id": trace_id, "span_id": span_id} for trace_id, span_id in span.links],
    }


def _bearing(request: Request, token: str) -> Request:
    """The same request, with the token where dependencies look for it."""
    scope = dict(request.scope)
    scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {token}".encode("latin-1", "ignore"))]
    return Request(scope, request.receive)


async def _read_form(request: Request) -> tuple[str, str]:
    """The token and where to go next. A form on another site must not sign a browser in as somebody else."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise CrossSiteSignIn("sign in from our own page")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_LENGTH_MAX:
            raise HTTPException(413)
    fields = parse_qs(body.decode("utf-8", "replace"))
    return fields.get("token", [""])[0].strip(), fields.get("next", [""])[0]


def _address_of(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _own_address(address: str) -> str:
    """Where a form may send its user: to our traces, and nowhere else."""
    return quote(address, safe="/?&=%+.-_~:") if address.startswith((f"{TRACES}/", f"{TRACES}?")) else TRACES

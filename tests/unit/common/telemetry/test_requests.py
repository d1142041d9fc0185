"""What is seen of an HTTP request."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from libs.common.telemetry import (
    TraceBudget,
    TraceRing,
    current_service,
    current_trace_id,
    instrument_app,
    metrics,
    metrics_app,
    span,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def make_app() -> FastAPI:
    app = FastAPI()
    inner = APIRouter(prefix="/versions")
    router = APIRouter(prefix="/v1/plans")

    @inner.get("/{number}")
    async def get_version(plan_id: str, number: int) -> dict[str, int]:
        return {"number": number}

    @router.get("/{plan_id}")
    async def get_plan(plan_id: str) -> dict[str, str | None]:
        with span("inside"):
            return {"trace": current_trace_id(), "service": current_service.get()}

    @router.post("/{plan_id}")
    async def break_plan(plan_id: str) -> None:
        raise RuntimeError("broken, Bearer abcdefghijklmnop")

    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse("yes")

    async def answer_unexpected(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"trace": current_trace_id()}, 500)

    router.include_router(inner, prefix="/{plan_id}")
    app.include_router(router)
    app.add_exception_handler(Exception, answer_unexpected)
    app.router.routes.append(Route("/v1/hot/{name}", plain, methods=["POST"]))
    app.router.routes.append(Route("/health/live", plain))
    app.router.routes.append(Route("/metrics", metrics_app))
    instrument_app(app, "catalog", traces={"/v1/hot/now": TraceBudget(per_s=0, burst=2)})
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://catalog") as client:
        yield client


def counted(route: str, method: str = "GET", status: str = "200") -> float:
    labels = {"service": "catalog", "route": route, "method": method, "status": status}
    return metrics.REGISTRY.get_sample_value("perennial_http_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/plans/pln_1?x=1", "/v1/plans/{plan_id}"),
        ("/v1/plans/pln_1/versions/3", "/v1/plans/{plan_id}/versions/{number}"),
    ],
)
async def test_a_request_is_one_span_and_one_count_under_its_template(
    path: str, route: str, client: httpx.AsyncClient, ring: TraceRing
) -> None:
    before = counted(route)

    await client.get(path)

    (summary,) = ring.list_traces()
    view = ring.find_trace(summary.trace_id)
    assert view is not None
    request = view.spans[0]
    assert (request.name, request.kind, request.service) == (f"GET {route}", "server", "catalog")
    assert request.attributes == {
        "http.request.method": "GET",
        "url.path": path.partition("?")[0],
        "url.scheme": "http",
        "http.route": route,
        "http.response.status_code": 200,
    }
    assert [s.name for s in view.spans[1:]] in ([], ["inside"]), "FastAPI's own spans are off"
    assert counted(route) == before + 1


async def test_the_route_runs_inside_of_span_and_service(client: httpx.AsyncClient, ring: TraceRing) -> None:
    answer = (await client.get("/v1/plans/pln_1")).json()

    assert answer == {"trace": ring.list_traces()[0].trace_id, "service": "catalog"}


async def test_the_callers_trace_goes_on(client: httpx.AsyncClient, ring: TraceRing) -> None:
    await client.get("/v1/plans/pln_1", headers={"traceparent": f"00-{TRACE}-{SPAN}-03"})

    view = ring.find_trace(TRACE)
    assert view is not None
    assert view.spans[0].parent_id == SPAN


async def test_an_unexpected_error_marks_the_span_and_its_answer_tells_the_trace(
    client: httpx.AsyncClient, ring: TraceRing
) -> None:
    answer = await client.post("/v1/plans/pln_1")

    (summary,) = ring.list_traces(failed_only=True)
    assert answer.status_code == 500
    assert answer.json() == {"trace": summary.trace_id}
    view = ring.find_trace(summary.trace_id)
    assert view is not None
    assert view.spans[0].attributes["error.type"] == "RuntimeError"
    assert view.spans[0].status_text == "RuntimeError: broken, Bearer [redacted]"


async def test_paths_that_match_nothing_are_counted_together(
    client: httpx.AsyncClient, ring: TraceRing
) -> None:
    before = counted("unmatched", status="404")

    for path in ("/a", "/b"):
        await client.get(path)

    assert counted("unmatched", status="404") == before + 2
    assert ring.names() == {"GET": 2}


async def test_health_and_metrics_leave_no_trace(client: httpx.AsyncClient, ring: TraceRing) -> None:
    await client.get("/health/live")
    await client.get("/metrics")

    assert ring.list_traces() == []


async def test_a_hot_route_is_counted_always_and_recorded_within_its_budget(
    client: httpx.AsyncClient, ring: TraceRing
) -> None:
    before = counted("/v1/hot/{name}", "POST")

    for _ in range(20):
        await client.post("/v1/hot/now")
    await client.post("/v1/hot/now", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})

    assert counted("/v1/hot/{name}", "POST") == before + 21
    assert ring.names() == {"POST /v1/hot/{name}": 3}
    assert ring.find_trace(TRACE) is not None


async def test_without_tracing_requests_are_counted(client: httpx.AsyncClient) -> None:
    before = counted("/v1/plans/{plan_id}")

    answer = await client.get("/v1/plans/pln_1")

    assert answer.json()["trace"] is None
    assert counted("/v1/plans/{plan_id}") == before + 1


async def test_metrics_are_shown_as_text(client: httpx.AsyncClient) -> None:
    metrics.published("billing", ["invoice.paid", "invoice.paid"])
    metrics.outbox("billing", waiting=3, age_s=None)
    metrics.consumer_lag("billing", "billing", "perennial.metering.v1", 7)
    metrics.dead_letters("billing", 1)

    answer = await client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'perennial_events_published_total{service="billing",type="invoice.paid"}' in answer.text
    assert 'perennial_outbox_age_seconds{service="billing"} 0.0' in answer.text
    assert 'group="billing",service="billing",topic="perennial.metering.v1"} 7.0' in answer.text
    assert (await client.post("/metrics")).status_code == 405

"""The gateway: one origin for the services, and plain words where none of them answers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from libs.common.contracts import SERVICES
from tests.support.fleet import Fleet

NO_SUCH_INVOICE = "/v1/invoices/inv_00000000000000000000000000"


@pytest.fixture(scope="module")
def origin(processes: Fleet) -> Iterator[httpx.Client]:
    """Without a token."""
    with httpx.Client(base_url=processes.base_url, timeout=30, trust_env=False) as client:
        yield client


def test_what_belongs_to_nobody_is_a_problem(origin: httpx.Client) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    for path in (
        "/nothing",
        "/v1/nothing",
        "/v1/productsandmore",
        "/v1",
        "/openapi/nothing.json",
        "/openapi.json",
    ):
        answer = origin.get(path, headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["code"], problem["status"], problem["trace_id"]) == ("route_unknown", 404, trace_id)
        assert problem["remedy"]


@pytest.mark.parametrize(
    "path", ["/metrics", "/ops", "/ops/traces", "/health/all", "/config/", "/debug/vars"]
)
def test_what_is_for_operators_is_not_reached_from_outside(origin: httpx.Client, path: str) -> None:
    assert origin.get(path).status_code == 404


def test_each_segment_is_answered_by_its_service(processes: Fleet) -> None:
    with processes.client() as client:
        for path in ("/v1/products", "/v1/customers", "/v1/meters", "/v1/invoices"):
            assert client.get(path).status_code == 200, path
        answer = client.get(NO_SUCH_INVOICE)
    assert (answer.status_code, answer.json()["code"]) == (404, "invoice_not_found")


def test_the_docs_show_all_services(origin: httpx.Client) -> None:
    sent_on = origin.get("/")
    assert (sent_on.status_code, sent_on.headers["location"]) == (307, "/docs")
    page = origin.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    start = origin.get("/docs/all/start.js").text
    for service in SERVICES:
        assert f"/openapi/{service}.json" in page.text
        assert f"/openapi/{service}.json" in start
        assert origin.get(f"/openapi/{service}.json").json()["info"]["title"] == f"Perennial {service}"
    assert origin.get("/docs/assets/swagger-ui.css").status_code == 200


def test_every_problem_is_explained_whichever_process_is_asked(origin: httpx.Client) -> None:
    for _ in SERVICES:  # they are asked in turn
        for code in ("plan_not_found", "test_clock_not_found", "usage_window_not_found", "invoice_not_found"):
            assert origin.get(f"/problems/{code}").json()["code"] == code
    assert origin.get("/problems/service_unavailable").json()["status"] == 503
    assert origin.get("/problems/nothing").json()["code"] == "route_unknown"
    assert {"route_unknown", "ingest_busy"} <= {
        each["code"] for each in origin.get("/problems").json()["data"]
    }


def test_it_is_ready_when_all_services_are(processes: Fleet, origin: httpx.Client) -> None:
    assert origin.get("/health/live").json() == {"status": "live"}
    told = origin.get("/health/ready")
    assert told.status_code == 200
    assert {name: each["status"] for name, each in told.json()["services"].items()} == dict.fromkeys(
        SERVICES, "ready"
    )


def test_the_containers_are_found_healthy(processes: Fleet) -> None:
    for name in ("postgres", "kafka", "billing-api", "billing-worker", "gateway"):
        assert processes.healthcheck(name) == 0, name


def test_a_worker_tells_its_health_and_its_metrics_and_nothing_else(processes: Fleet) -> None:
    with httpx.Client(base_url=f"http://{processes.address('billing-worker')}", trust_env=False) as worker:
        assert worker.get("/health/live").status_code == 200
        assert worker.get("/health/ready").json()["checks"] == {"database": True, "working": True}
        assert 'perennial_outbox_age_seconds{service="billing"}' in worker.get("/metrics").text
        assert worker.get("/v1/invoices").status_code == 404


def test_a_body_as_large_as_allowed_passes_and_a_larger_one_is_refused(processes: Fleet) -> None:
    """By the service, which knows its own limits: the gateway hands over what it gets, as it gets it."""
    event = b'{"specversion":"1.0","id":"%d","source":"gateway","type":"wash","subject":"m","data":{"note":"%s"}}\n'
    body = b"".join(event % (n, b"x" * 9_000) for n in range(1_000))
    assert 9_000_000 < len(body) < 10_000_000
    headers = {"content-type": "application/x-ndjson"}
    with processes.client() as client:
        taken = client.post("/v1/usage-events", content=body, headers=headers)
        assert taken.status_code == 200, taken.text
        assert len(taken.json()["results"]) == 1_000
        refused = client.post("/v1/usage-events", content=body + body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


def test_several_replicas_share_the_work_and_stand_in_for_each_other(processes: Fleet) -> None:
    """Also that an outage is told as a problem, once no replica is left."""
    second = "billing-api-2"
    processes.add(second, like="billing-api")
    processes.terminate("gateway")
    both = f"{processes.address('billing-api')} {processes.address(second)}"
    processes.start("gateway", PERENNIAL_BILLING_API=both)
    with processes.client() as client:
        for _ in range(20):
            assert client.get("/v1/invoices").status_code == 200
        assert all(answered(processes, name) >= 5 for name in ("billing-api", second))

        processes.kill("billing-api")
        for _ in range(20):
            assert client.get("/v1/invoices").status_code == 200

        processes.remove(second)
        answer = client.get("/v1/invoices")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        problem = answer.json()
        assert (problem["code"], problem["type"]) == ("service_unavailable", "/problems/service_unavailable")
        told = client.get("/health/ready")
        assert told.status_code == 503
        assert told.json()["services"]["billing"] == {"status": "unreachable"}
        assert told.json()["services"]["catalog"]["status"] == "ready"

        processes.start("billing-api")
        assert client.get("/v1/invoices").status_code == 200


def answered(fleet: Fleet, name: str) -> int:
    """How many lists of invoices this process has answered."""
    told = httpx.get(f"http://{fleet.address(name)}/metrics", trust_env=False).text
    lines = [line for line in told.splitlines() if line.startswith("perennial_http_requests_total")]
    return sum(
        round(float(line.split()[-1])) for line in lines if '"/v1/invoices"' in line and '"200"' in line
    )

"""Problems: what a caller sees of an error, and what he does not."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import httpx
import pytest
from sqlalchemy.exc import InterfaceError, OperationalError

from libs.common.errors import (
    Conflict,
    DomainError,
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    RuleViolation,
    ServiceError,
    TooLarge,
    TooManyRequests,
    TransientError,
    Unauthenticated,
)
from libs.common.money import Money
from libs.common.web.problem import descendants, known_problems, problem_from, status_of
from tests.unit.web.small_app import SmallApp
from tests.unit.web.test_calls import problem

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class LeafOfConflict(Conflict):
    code = "leaf_of_conflict"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (InvalidInput, 422),
        (RuleViolation, 422),
        (DomainError, 422),
        (Unauthenticated, 401),
        (Forbidden, 403),
        (NotFound, 404),
        (Conflict, 409),
        (LeafOfConflict, 409),
        (PreconditionFailed, 412),
        (TooLarge, 413),
        (PreconditionRequired, 428),
        (TooManyRequests, 429),
        (ServiceError, 500),
        (TransientError, 503),
    ],
)
def test_statuses(kind: type[ServiceError], status: int) -> None:
    assert status_of(kind) == status


def body_of(error: Exception) -> dict[str, object]:
    body: dict[str, object] = json.loads(bytes(problem_from(error, trace_id=TRACE).body))
    return body


def test_facts_are_shown_in_the_spelling_of_the_api_and_cut() -> None:
    error = Conflict(
        "no",
        count=0,
        open=False,
        money=Money(1250, "EUR"),
        quantity=Decimal("1E+3"),
        at=datetime(2025, 1, 1, tzinfo=UTC),
        text="x" * 1000,
        moves=["pay", "cancel"],
        many=["x"] * 21,
        hidden=object(),
    )
    facts = body_of(error)["facts"]
    assert facts == {
        "count": 0,
        "open": False,
        "money": {"amount": "12.50", "currency": "EUR"},
        "quantity": "1000",
        "at": "2025-01-01T00:00:00Z",
        "text": "x" * 199 + "…",
        "moves": ["pay", "cancel"],
    }


def test_pointer_and_remedy_are_told() -> None:
    told = body_of(RuleViolation("too small", pointer="/amount", remedy="Ask for more."))
    assert told["errors"] == [{"pointer": "/amount", "detail": "too small"}]
    assert told["remedy"] == "Ask for more."


def test_all_errors_of_an_input_are_told_up_to_a_bound() -> None:
    errors = [{"pointer": f"/{n}", "detail": "bad"} for n in range(80)]
    told = body_of(InvalidInput("bad", errors=errors))["errors"]  # type: ignore[arg-type]
    assert told == errors[:50]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("secret-host:5432"),
        OperationalError("SELECT secret", {}, Exception("x"), connection_invalidated=True),
        InterfaceError("SELECT secret", {}, asyncpg.InterfaceError("connection is closed")),
        asyncpg.CannotConnectNowError("the secret database is starting up"),
        asyncpg.TooManyConnectionsError("secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_outage_of_the_database_is_503_and_tells_no_more(error: Exception) -> None:
    response = problem_from(error, trace_id=TRACE)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert json.loads(bytes(response.body))["code"] == "database_unavailable"
    assert b"secret" not in bytes(response.body)


async def test_a_mistake_of_ours_is_logged_and_tells_nothing(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.post("/v1/notes", json={"name": "broken"})
    assert problem(answer) == (500, "internal_error")
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text
    assert answer.json()["trace_id"] in caplog.text


async def test_a_refusal_of_the_domain_has_its_own_code(client: httpx.AsyncClient) -> None:
    assert problem(await client.post("/v1/notes", json={"name": "refused"})) == (409, "note_refused")


async def test_unknown_routes_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/v1/nothing")) == (404, "route_unknown")
    assert problem(await client.get("/v1/notes/")) in [(404, "route_unknown"), (404, "not_found")]
    answer = await client.put("/v1/notes")
    assert problem(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"]


async def test_everything_wrong_with_a_body_is_told_where_it_is(client: httpx.AsyncClient) -> None:
    body = {
        "nmae": "x",
        "price": {"amount": "1.234", "currency": "EUR"},
        "quantity": 1.5,
        "at": "2025-01-01T00:00:00",
        "on": "2025-02-30",
        "zone": "Mars/Olympus",
        "parts": [{"amount": "1", "currency": "EUR"}, {"amount": 1, "currency": "EUR", "a/b~c": 1}],
    }
    answer = await client.post("/v1/notes", json=body)
    assert problem(answer) == (422, "invalid_body")
    told = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
    assert told.keys() == {
        "/name",
        "/nmae",
        "/price",
        "/quantity",
        "/at",
        "/on",
        "/zone",
        "/parts/1/amount",
        "/parts/1/a~1b~0c",
    }
    assert told["/name"] == "is required"
    assert told["/nmae"] == "is not a field of this body: did you mean name?"
    assert told["/on"] == "is no date that exists"


async def test_long_input_is_not_repeated(client: httpx.AsyncClient) -> None:
    long = "q" * 5000
    for body in (
        {"name": "x", long: 1},
        {"name": long},
        {"name": "x", "zone": long},
        {"name": "x", "code": long},
    ):
        answer = await client.post("/v1/notes", json=body)
        assert problem(answer) == (422, "invalid_body")
        assert "q" * 100 not in answer.text


async def test_the_type_of_a_problem_leads_to_its_entry(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/notes", json={"name": "refused"})
    entry = (await client.get(refused.json()["type"])).json()
    assert entry == {"code": "note_refused", "title": "The note was refused", "status": 409}
    listed = (await client.get("/problems")).json()["data"]
    assert entry in listed
    assert problem(await client.get("/problems/nothing")) == (404, "route_unknown")


def test_no_two_errors_of_ours_share_a_code() -> None:
    found = [kind for kind in descendants(ServiceError) if kind.__module__.startswith("libs.")]
    codes = [kind.__dict__["code"] for kind in found if "code" in kind.__dict__]
    assert sorted(codes) == sorted(set(codes))
    assert set(codes) <= known_problems().keys()


async def test_ids_of_the_request_come_back(client: httpx.AsyncClient) -> None:
    trace = f"00-{TRACE}-00f067aa0ba902b7-03"
    answer = await client.get("/health/live", headers={"x-request-id": "abc-1", "traceparent": trace})
    assert (answer.headers["x-request-id"], answer.headers["x-trace-id"]) == ("abc-1", TRACE)


@pytest.mark.parametrize("harmful", ["a b", "x" * 129, "a\tb", "<script>"])
async def test_a_harmful_request_id_is_replaced(client: httpx.AsyncClient, harmful: str) -> None:
    answer = await client.get("/health/live", headers={"x-request-id": harmful, "traceparent": "nonsense"})
    assert len(answer.headers["x-request-id"]) == 32
    assert len(answer.headers["x-trace-id"]) == 32


async def test_a_request_under_a_running_span_bears_its_trace(small: SmallApp) -> None:
    from opentelemetry import trace

    context = trace.SpanContext(
        int(TRACE, 16), 0x00F067AA0BA902B7, is_remote=False, trace_flags=trace.TraceFlags(3)
    )
    with trace.use_span(trace.NonRecordingSpan(context)):
        async with small.client() as client:
            answer = await client.get("/health/live")
    assert answer.headers["x-trace-id"] == TRACE

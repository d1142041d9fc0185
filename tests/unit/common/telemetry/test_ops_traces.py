"""The operators' pages: who may see them, what they show, and that nothing in them is alive."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from libs.common.access.caller import Caller
from libs.common.errors import Unauthenticated
from libs.common.telemetry import TraceRing, record_failure, root_span, service_scope, span
from libs.common.telemetry.ring import SpanView
from libs.common.web.ops_traces import operator_only, ops_app, ops_router
from libs.common.web.trace_pages import duration_text, rows_of

PAGE = {"accept": "text/html,application/xhtml+xml"}
GOOD = {"authorization": "Bearer operator-token"}


async def verify(token: str) -> Caller:
    scopes = {"operator-token": frozenset({"operate"}), "tenant-token": frozenset({"billing:read"})}
    if token not in scopes:
        raise Unauthenticated("the token is not known")
    return Caller(None, scopes[token], None, "tok_1", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def client(ring: TraceRing) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[Mount("/ops", ops_app(ring, operator_only(verify)))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://local") as client:
        yield client


def a_renewal() -> str:
    """A trace over three services, found by a tick; returns its id."""
    with service_scope("subscriptions"), span("tick"), root_span("renew") as root:
        with span("INSERT outbox", attributes={"db.query.text": "INSERT INTO outbox VALUES ($1)"}):
            pass
        with service_scope("metering"), span("process perennial.subscriptions.v1"):
            pass
        with pytest.raises(RuntimeError), service_scope("billing"), span("collect payment"):
            raise RuntimeError("card <b>declined</b>")
    return f"{root.get_span_context().trace_id:032x}"


@pytest.mark.parametrize("path", ["/ops/traces", "/ops/traces.json", "/ops/traces/ab", "/ops/traces/ab.json"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer nonsense"}, 401),
        ({"authorization": "Basic operator-token"}, 401),
        ({"authorization": "Bearer tenant-token"}, 403),
        ({"cookie": "perennial_ops=tenant-token"}, 403),
        ({"cookie": "perennial_ops=nonsense", **PAGE}, 401),
        (PAGE, 401),
    ],
)
async def test_nobody_but_operators_sees_anything(
    path: str, headers: dict[str, str], status: int, client: httpx.AsyncClient
) -> None:
    a_renewal()

    answer = await client.get(path, headers=headers)

    assert answer.status_code == status
    assert "renew" not in answer.text


async def test_a_browser_signs_in_once(client: httpx.AsyncClient) -> None:
    trace_id = a_renewal()
    asked = await client.get(f"/ops/traces/{trace_id}", headers=PAGE)
    assert 'action="/ops/login"' in asked.text
    assert f'name="next" value="/ops/traces/{trace_id}"' in asked.text

    form = {"token": "operator-token", "next": f"/ops/traces/{trace_id}"}
    signed_in = await client.post("/ops/login", data=form, headers=PAGE)

    assert signed_in.status_code == 303
    assert signed_in.headers["location"] == f"/ops/traces/{trace_id}"
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/ops" in cookie
    page = await client.get(signed_in.headers["location"], headers=PAGE)  # the client keeps the cookie
    assert page.status_code == 200
    assert "collect payment" in page.text

    await client.post("/ops/logout", headers=PAGE)
    assert (await client.get("/ops/traces", headers=PAGE)).status_code == 401


async def test_over_https_the_cookie_is_secure(ring: TraceRing) -> None:
    app = Starlette(routes=[Mount("/ops", ops_app(ring, operator_only(verify)))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://local") as client:
        signed_in = await client.post("/ops/login", data={"token": "operator-token"})

    assert "Secure" in signed_in.headers["set-cookie"]


@pytest.mark.parametrize("token", ["", "nonsense", "tenant-token"])
async def test_a_wrong_token_is_refused_and_not_kept(token: str, client: httpx.AsyncClient) -> None:
    answer = await client.post("/ops/login", data={"token": token}, headers=PAGE)

    assert answer.status_code in {401, 403}
    assert "set-cookie" not in answer.headers
    assert 'action="/ops/login"' in answer.text


async def test_another_site_cannot_sign_a_browser_in(client: httpx.AsyncClient) -> None:
    headers = {**PAGE, "sec-fetch-site": "cross-site"}

    answer = await client.post("/ops/login", data={"token": "operator-token"}, headers=headers)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "address", ["https://evil.example", "//evil.example", "/ops/tracesx", "", "/ops/traces/\r\nx: y"]
)
async def test_signing_in_leads_to_our_pages_only(address: str, client: httpx.AsyncClient) -> None:
    answer = await client.post("/ops/login", data={"token": "operator-token", "next": address})

    assert answer.headers["location"].startswith("/ops/traces")
    assert "\n" not in answer.headers["location"]


async def test_a_long_form_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/ops/login", content=b"token=" + b"x" * 20_000)

    assert answer.status_code == 413


async def test_the_list_can_be_narrowed(client: httpx.AsyncClient) -> None:
    trace_id = a_renewal()

    async def names(query: str) -> list[str]:
        answer = await client.get(f"/ops/traces.json?{query}", headers=GOOD)
        return [trace["name"] for trace in answer.json()["traces"]]

    assert sorted(await names("")) == ["renew", "tick"]
    assert await names("failed=1") == ["renew"]
    assert await names("service=billing") == ["renew"]
    assert await names("name=tick") == ["tick"]
    assert await names("q=DECLINED") == ["renew"]
    assert await names(f"q={trace_id}") == ["renew"]
    assert len(await names("limit=1")) == 1
    assert (await client.get("/ops/traces.json?limit=501", headers=GOOD)).status_code == 422
    page = await client.get("/ops/traces?failed=1&q=declined", headers=GOOD)
    assert "renew" in page.text
    assert 'value="declined"' in page.text


async def test_a_trace_is_told_as_json(client: httpx.AsyncClient) -> None:
    trace_id = a_renewal()

    told = (await client.get(f"/ops/traces/{trace_id}.json", headers=GOOD)).json()

    assert told["name"] == "renew"
    assert set(told["services"]) == {"subscriptions", "metering", "billing"}
    assert told["failed_count"] == 1
    spans = {span["name"]: span for span in told["spans"]}
    assert spans["INSERT outbox"]["parent_id"] == spans["renew"]["span_id"]
    assert spans["INSERT outbox"]["attributes"] == {"db.query.text": "INSERT INTO outbox VALUES ($1)"}
    assert spans["collect payment"]["failed"]
    (tick,) = (await client.get("/ops/traces.json?name=tick", headers=GOOD)).json()["traces"]
    assert spans["renew"]["links"][0]["trace_id"] == tick["trace_id"]
    led_to = (await client.get(f"/ops/traces/{tick['trace_id']}.json", headers=GOOD)).json()["linked_from"]
    assert led_to == [trace_id]


async def test_the_waterfall_shows_every_span_and_leads_to_linked_traces(client: httpx.AsyncClient) -> None:
    trace_id = a_renewal()

    page = (await client.get(f"/ops/traces/{trace_id}", headers=GOOD)).text

    assert page.count('<details class="row') == 4
    (tick,) = (await client.get("/ops/traces.json?name=tick", headers=GOOD)).json()["traces"]
    assert f'href="/ops/traces/{tick["trace_id"]}"' in page


async def test_nothing_in_a_page_is_alive(client: httpx.AsyncClient) -> None:
    evil = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"
    inner = {"db.query.text": evil}
    with service_scope(evil), root_span(evil, attributes={evil: evil}) as root, span(evil, attributes=inner):
        record_failure(RuntimeError(evil))
    trace_id = f"{root.get_span_context().trace_id:032x}"

    for path in (
        f"/ops/traces/{trace_id}",
        "/ops/traces",
        f"/ops/traces?q={evil}&service={evil}&name={evil}",
    ):
        answer = await client.get(path, headers=GOOD)
        assert answer.status_code == 200
        scripts = re.findall(r"<script[^>]*>", answer.text)
        assert set(scripts) <= {'<script src="/ops/assets/traces.js" defer>'}
        assert "<img" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert " style=" not in answer.text, "the policy would not let it"
    missing = await client.get("/ops/traces/<script>alert(1)", headers=GOOD)
    assert missing.status_code == 404
    assert "<script>" not in missing.text


async def test_pages_need_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    trace_id = a_renewal()
    page = (await client.get(f"/ops/traces/{trace_id}", headers=GOOD)).text

    wanted = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert all(address.startswith("/ops/") or address == "data:," for address in wanted)
    for asset in ("/ops/assets/traces.css", "/ops/assets/traces.js"):
        answer = await client.get(asset)
        assert answer.status_code == 200
        assert "http" not in answer.text.replace("https:", "")
    assert (await client.get("/ops/assets/../ops_traces.py")).status_code == 404


async def test_a_fastapi_app_can_include_the_routes_as_they_are(ring: TraceRing) -> None:
    app = FastAPI()
    app.include_router(ops_router(ring, operator_only(verify)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://local") as client:
        assert (await client.get("/ops/traces", headers=GOOD)).status_code == 200
        assert (await client.get("/ops/traces", headers=PAGE)).status_code == 401
        assert (await client.get("/ops/assets/traces.css")).status_code == 200
        assert app.openapi()["paths"] == {}


async def test_start_leads_to_the_list(client: httpx.AsyncClient) -> None:
    assert (await client.get("/ops/")).headers["location"] == "/ops/traces"
    assert (await client.get("/ops/login")).status_code == 200


async def test_an_unknown_trace_is_a_problem_for_programs(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/ops/traces/{'ab' * 16}.json", headers=GOOD)

    assert answer.status_code == 404
    assert answer.json()["code"] == "trace_not_kept"


def test_the_pages_are_not_part_of_the_api(ring: TraceRing) -> None:
    app: FastAPI = ops_app(ring, operator_only(verify))

    assert app.openapi()["paths"] == {}


def a_span(span_id: str, parent_id: str | None, started_ns: int) -> SpanView:
    return SpanView(
        span_id, parent_id, span_id, "", "internal", started_ns, started_ns, False, "", {}, (), ()
    )


def test_rows_are_a_tree_whatever_the_ids_say() -> None:
    spans = [
        a_span("root", None, 0),
        a_span("late child", "root", 5),
        a_span("early child", "root", 1),
        a_span("grandchild", "early child", 2),
        a_span("orphan", "evicted", 3),
        a_span("own parent", "own parent", 4),
        a_span("chicken", "egg", 6),
        a_span("egg", "chicken", 7),
    ]
    rows = [(row.span.span_id, row.depth) for row in rows_of(sorted(spans, key=lambda s: s.started_ns))]

    assert rows[:3] == [("root", 0), ("early child", 1), ("grandchild", 2)]
    assert ("orphan", 0) in rows
    assert sorted(name for name, _ in rows) == sorted(span.span_id for span in spans)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_500, "1.5 µs"),
        (12_345_678, "12.3 ms"),
        (999_600_000, "1000 ms"),
        (1_000_000_000, "1 s"),
        (59_900_000_000, "59.9 s"),
        (60_000_000_000, "1 min"),
        (3_723_000_000_000, "1 h 2 min"),
        (90_000_000_000_000, "1 d 1 h"),
    ],
)
def test_durations_are_short_to_read(duration_ns: int, text: str) -> None:
    assert duration_text(duration_ns) == text

"""Calls to peers: where they may go, what is repeated, what is an outage."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from opentelemetry import trace

from libs.common import http_client
from libs.common.http_client import PeerClient, PeerUnavailable, PeerUnknown

Answer = Callable[[httpx.Request], httpx.Response]


class Peer:
    """Answers in turn, the last answer for ever, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def ok() -> httpx.Response:
    return httpx.Response(200, json={"n": 1})


def a_client(peer: Peer, pauses: list[float] | None = None, **options: Any) -> PeerClient:
    async def sleep(pause_s: float) -> None:
        (pauses if pauses is not None else []).append(pause_s)

    peers = {"billing": "http://billing.test:8000/", "deep": "https://deep.test/base"}
    return PeerClient(peers, transport=httpx.MockTransport(peer), sleep=sleep, **options)


async def test_a_peer_is_called_with_token_and_trace() -> None:
    peer = Peer(ok())
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        answer = await a_client(peer).get("billing", "/v1/invoices", token="t", params={"limit": "1"})
    (request,) = peer.asked
    assert answer.json() == {"n": 1}
    assert str(request.url) == "http://billing.test:8000/v1/invoices?limit=1"
    assert request.headers["authorization"] == "Bearer t"
    assert request.headers["traceparent"].split("-")[1] == f"{0xABC:032x}"


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("no"), httpx.ReadTimeout("slow"), *map(httpx.Response, (429, 500, 502, 503, 504))],
)
async def test_reads_are_tried_again(failure: httpx.Response | Exception) -> None:
    pauses: list[float] = []
    peer = Peer(failure, failure, ok())
    assert (await a_client(peer, pauses).get("billing", "/x", token="t")).status_code == 200
    assert len(peer.asked) == 3
    assert len(pauses) == 2


async def test_after_a_few_tries_it_is_an_outage_that_tells_no_address() -> None:
    peer = Peer(httpx.ConnectError("http://billing.test:8000 refused"))
    with pytest.raises(PeerUnavailable) as caught:
        await a_client(peer).get("billing", "/x", token="secret")
    assert len(peer.asked) == 1 + http_client.RETRIES_MAX
    assert "secret" not in str(caught.value)
    assert "test:8000" not in str(caught.value)


async def test_a_post_is_repeated_only_where_that_is_safe() -> None:
    for options, tries in [({}, 1), ({"idempotency_key": "k"}, 4)]:
        peer = Peer(httpx.Response(503))
        with pytest.raises(PeerUnavailable):
            await a_client(peer).post("billing", "/x", token="t", json={}, **options)
        assert len(peer.asked) == tries
    peer = Peer(httpx.Response(503), ok())
    await a_client(peer).request("POST", "billing", "/x", token="t", json={}, repeatable=True)
    assert len(peer.asked) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
async def test_refusals_are_given_back(status: int) -> None:
    peer = Peer(httpx.Response(status, json={"code": "x"}))
    answer = await a_client(peer).get("billing", "/x", token="t")
    assert (answer.status_code, len(peer.asked)) == (status, 1)


async def test_a_short_retry_after_is_waited_out_and_a_long_one_cut() -> None:
    pauses: list[float] = []
    peer = Peer(
        httpx.Response(503, headers={"retry-after": "1"}),
        httpx.Response(503, headers={"retry-after": "9999"}),
        httpx.Response(503, headers={"retry-after": "soon"}),
        ok(),
    )
    await a_client(peer, pauses).get("billing", "/x", token="t")
    assert pauses[:2] == [1.0, http_client.PAUSE_MAX_S]
    assert pauses[2] <= http_client.PAUSE_MAX_S


async def test_redirects_are_not_followed() -> None:
    peer = Peer(httpx.Response(302, headers={"location": "http://evil.test/"}))
    assert (await a_client(peer).get("billing", "/x", token="t")).status_code == 302
    assert len(peer.asked) == 1


async def test_an_endless_answer_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "ANSWER_BYTES_MAX", 10)
    with pytest.raises(PeerUnavailable):
        await a_client(Peer(httpx.Response(200, content=b"x" * 11)), retries_max=0).get(
            "billing", "/x", token="t"
        )


async def test_compressed_answers_are_read() -> None:
    import gzip

    packed = httpx.Response(200, content=gzip.compress(b'{"n": 2}'), headers={"content-encoding": "gzip"})
    assert (await a_client(Peer(packed)).get("billing", "/x", token="t")).json() == {"n": 2}


@pytest.mark.parametrize(
    ("peer", "path"),
    [
        ("evil", "/x"),
        ("billing", "x"),
        ("billing", "//evil.test/x"),
        ("billing", "http://evil.test/x"),
        ("billing", "/../x"),
        ("billing", "/v1/./x"),
        ("billing", "/\\evil.test"),
        ("billing", "@evil.test/"),
    ],
)
async def test_only_configured_peers_are_called(peer: str, path: str) -> None:
    silent = Peer(ok())
    with pytest.raises(PeerUnknown):
        await a_client(silent).get(peer, path, token="t")
    assert silent.asked == []


@pytest.mark.parametrize("base", ["", "billing:8000", "ftp://x", "http://", "http://user@x", "http://x/?q=1"])
def test_a_peers_address_is_an_origin(base: str) -> None:
    with pytest.raises(PeerUnknown):
        PeerClient({"billing": base})

"""Calls between services: to configured addresses only, within a time, tried again where that is safe.

An answer of 4xx is given back to whoever asked. No answer, 429 and 5xx are tried again, when repeating cannot
do harm, and then raised as an outage: nobody's message is at fault.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
from opentelemetry import propagate

from libs.common.errors import ServiceError, TransientError

CONNECT_TIMEOUT_S = 2.0
TIMEOUT_S = 10.0
RETRIES_MAX = 3
PAUSE_S = 0.1
PAUSE_MAX_S = 2.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024

_SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})


class PeerUnavailable(TransientError):
    """Another service did not answer, or answered that it cannot now."""

    code: ClassVar[str] = "peer_unavailable"
    title: ClassVar[str] = "Another service cannot be reached"


class PeerUnknown(ServiceError):
    """A call to an address that was not configured: a mistake of ours, or somebody's trick."""

    code: ClassVar[str] = "peer_unknown"
    title: ClassVar[str] = "No such peer is configured"


class PeerClient:
    """One pool for all peers. `peers` maps a service's name to its base address; nothing else is called.

    Redirects are not followed and the environment's proxies are not used: both could lead elsewhere.
    """

    def __init__(
        self,
        peers: Mapping[str, str],
        *,
        timeout_s: float = TIMEOUT_S,
        retries_max: int = RETRIES_MAX,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._peers = {name: _checked_base(base) for name, base in peers.items()}
        self._timeout_s = timeout_s
        self._retries_max = retries_max
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            limits=httpx.Limits(max_connections=50, max_keepalive_connections=10),
            follow_redirects=False,
            trust_env=False,
            # The list of authorities takes 20 ms to read, and plain http has no use for it.
            verify=not all(urlsplit(base).scheme == "http" for base in peers.values()),
            transport=transport,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(
        self, peer: str, path: str, *, token: str, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Raises: PeerUnavailable, PeerUnknown."""
        return await self.request("GET", peer, path, token=token, params=params)

    async def post(
        self, peer: str, path: str, *, token: str, json: Any, idempotency_key: str | None = None
    ) -> httpx.Response:
        """Tried again only with an idempotency key. Raises: PeerUnavailable, PeerUnknown."""
        return await self.request("POST", peer, path, token=token, json=json, idempotency_key=idempotency_key)

    async def request(
        self,
        method: str,
        peer: str,
        path: str,
        *,
        token: str,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        idempotency_key: str | None = None,
        repeatable: bool | None = None,
    ) -> httpx.Response:
        """`repeatable` says that a POST changes nothing, as a preview does.

        Raises: PeerUnavailable, PeerUnknown.
        """
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        propagate.inject(headers)
        request = self._client.build_request(
            method, self._address(peer, path), params=params, json=json, headers=headers
        )
        safe = method in _SAFE or idempotency_key is not None if repeatable is None else repeatable
        for left in range(self._retries_max if safe else 0, -1, -1):
            answer = await self._try(request)
            if isinstance(answer, httpx.Response) and answer.status_code not in _TRY_AGAIN:
                return answer
            if left:
                await self._sleep(_pause_s(self._retries_max - left, answer))
        reason = answer.status_code if isinstance(answer, httpx.Response) else type(answer).__name__
        cause = answer if isinstance(answer, Exception) else None
        raise PeerUnavailable(f"{peer} did not answer", peer=peer, reason=reason) from cause

    async def _try(self, request: httpx.Request) -> httpx.Response | httpx.RequestError:
        """httpx bounds each read; the bound around the whole is for a peer that answers a byte at a time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.send(request, stream=True)
                try:
                    content = bytearray()
                    async for part in response.aiter_bytes():
                        content += part
                        if len(content) > ANSWER_BYTES_MAX:
                            return httpx.ReadError("the answer is too long", request=request)
                finally:
                    await response.aclose()
        except TimeoutError:
            return httpx.ReadTimeout("the answer took too long", request=request)
        except httpx.RequestError as error:
            return error
        # The body is decoded by now: what it said of its encoding and length no longer holds.
        kept = [
            (name, value)
            for name, value in response.headers.multi_items()
            if name not in ("content-encoding", "content-length", "transfer-encoding")
        ]
        return httpx.Response(response.status_code, headers=kept, content=bytes(content), request=request)

    def _address(self, peer: str, path: str) -> str:
        base = self._peers.get(peer)
        if base is None:
            raise PeerUnknown("no address is configured for this peer", peer=peer)
        segments = path.split("/")
        if not path.startswith("/") or path.startswith("//") or {".", ".."} & set(segments) or "\\" in path:
            raise PeerUnknown("a peer is called by a plain absolute path", peer=peer)
        return base + path


def _checked_base(base: str) -> str:
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise PeerUnknown("a peer's address is an http or https origin, with a path at most")
    return base.rstrip("/")


def _pause_s(tries: int, answer: httpx.Response | httpx.RequestError) -> float:
    """Full jitter, so that those who failed together do not come back together; a short Retry-After holds."""
    asked = answer.headers.get("retry-after", "") if isinstance(answer, httpx.Response) else ""
    least = min(float(asked), PAUSE_MAX_S) if asked.isdigit() else 0.0
    return max(least, random.uniform(0, min(PAUSE_MAX_S, PAUSE_S * 2**tries)))  # noqa: S311

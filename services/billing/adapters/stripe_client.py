"""Stripe's API over httpx: forms in, JSON out, its refusals told apart from answers that leave everything open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec

from libs.common.errors import TransientError
from libs.common.settings import InvalidSettings
from services.billing.adapters.gateway_accounts import GatewayAccount

STRIPE_URL = "https://api.stripe.com"
# What is read of answers has been the same since 2022; the version is named, so that it stays the same.
STRIPE_VERSION = "2025-03-31.basil"
CONNECT_TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
CONNECTIONS_MAX = 100

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_OPEN = frozenset({401, 403, 409, 429})

Fields = Mapping[str, Any]
Answer = dict[str, Any]


class GatewayUnavailable(TransientError):
    """No answer, or one that says nothing about what was asked: the outcome is unknown."""

    code = "gateway_unavailable"
    title = "The payment gateway cannot be reached"


class StripeRefused(Exception):
    """Stripe understood the request and did not do it. `intent` is the PaymentIntent that the refusal is about."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        self.status = status
        self.kind: str = error.get("type") or "unknown"
        self.code: str = error.get("code") or self.kind
        self.reason: str = error.get("decline_code") or self.code
        intent = error.get("payment_intent")
        self.intent: Answer | None = intent if isinstance(intent, dict) else None
        super().__init__(f"{status} {self.code}")  # not its message, which may quote what was sent


class StripeClient:
    """One pool for all accounts. Redirects are not followed, and the environment's proxies are not used.

    `timeout_s` bounds a call from its start to the last byte. Nothing is tried again here: whoever calls remembers
    what is unknown, and asks first.
    """

    def __init__(
        self,
        url: str = STRIPE_URL,
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises: InvalidSettings."""
        self._base = _checked(url)
        self._timeout_s = timeout_s
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def get(self, account: GatewayAccount, path: str, fields: Fields | None = None) -> Answer:
        """Raises: StripeRefused, GatewayUnavailable."""
        query = urlencode(list(_flat(fields or {})))
        return await self._ask(account, "GET", f"{path}?{query}" if query else path)

    async def post(
        self, account: GatewayAccount, path: str, fields: Fields, *, key: str | None = None
    ) -> Answer:
        """`key` is the Idempotency-Key. Raises: StripeRefused, GatewayUnavailable."""
        body = urlencode(list(_flat(fields))).encode()
        return await self._ask(account, "POST", path, body=body, key=key)

    async def _ask(
        self,
        account: GatewayAccount,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        key: str | None = None,
    ) -> Answer:
        headers = {
            "authorization": f"Bearer {account.secret_key}",
            "stripe-version": STRIPE_VERSION,
            "accept": "application/json",
        }
        if body is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        if key is not None:
            headers["idempotency-key"] = key
        request = self._opened().build_request(method, self._base + path, content=body, headers=headers)
        try:
            async with asyncio.timeout(self._timeout_s):
                status, content = await self._exchange(request)
        except TimeoutError:
            raise GatewayUnavailable("the gateway did not answer in time") from None
        except httpx.HTTPError as error:
            raise GatewayUnavailable("the gateway cannot be reached", reason=type(error).__name__) from None
        return _read(status, content)

    async def _exchange(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self._opened().send(request, stream=True)
        try:
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > ANSWER_BYTES_MAX:
                    raise httpx.ReadError("the answer is too long", request=request)
        finally:
            await response.aclose()
        return response.status_code, bytes(content)

    def _opened(self) -> httpx.AsyncClient:
        """Made when it is first needed: most processes never call Stripe."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_TIMEOUT_S, self._timeout_s)),
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=20),
                follow_redirects=False,
                trust_env=False,
                transport=self._transport,
            )
        return self._client


def path_of(*parts: str) -> str:
    """`/v1/…`, with every part quoted: an id never leads to another address."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _read(status: int, content: bytes) -> Answer:
    try:
        answer = msgspec.json.decode(content)
    except msgspec.DecodeError:
        answer = None
    error = answer.get("error") if isinstance(answer, dict) else None
    if 200 <= status < 300 and isinstance(answer, dict):
        return answer
    # A key that is in use, or was used with other parameters, says nothing of what became of its first request.
    reused = isinstance(error, dict) and error.get("type") == "idempotency_error"
    if 400 <= status < 500 and status not in _OPEN and isinstance(error, dict) and not reused:
        raise StripeRefused(status, error)
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    raise GatewayUnavailable("the gateway could not say", status=status, reason=code)


def _flat(fields: Fields, prefix: str = "") -> Iterator[tuple[str, str]]:
    """As Stripe reads nested fields: `metadata[attempt]=…`, `expand[]=…`."""
    for name, value in fields.items():
        key = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, Mapping):
            yield from _flat(value, key)
        elif isinstance(value, list):
            yield from ((f"{key}[]", str(one)) for one in value)
        elif isinstance(value, bool):
            yield key, "true" if value else "false"
        else:
            yield key, str(value)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname or parts.query or parts.fragment or parts.username:
        problem = "must be an https address; plain http is for this machine only"
        raise InvalidSettings("BillingSettings", {"PERENNIAL_BILLING_STRIPE_URL": problem})
    return url.rstrip("/")

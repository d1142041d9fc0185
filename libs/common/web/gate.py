"""Who comes in: every path that is guarded needs a good token, whether or not its route remembers to ask.

It stands before the body is read, so that a stranger cannot make us read one. Requests with a token that was
verified lately are counted by token; all others by address, so that guessing tokens has a price.
"""

from __future__ import annotations

from opentelemetry import trace
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.access.caller import Caller
from libs.common.access.token import TokenMalformed, TokenMissing, TokenVerifier
from libs.common.web.context import CALLER
from libs.common.web.limits import Limits
from libs.common.web.rates import RateLimiter

GUARDED = ("/v1/", "/api/v1/")  # the second is how OpenMeter's clients address it


def callers_of(limits: Limits) -> RateLimiter:
    """How often each token may ask; one for all that let requests in."""
    return RateLimiter(per_s=limits.token_requests_per_s, burst=limits.token_requests_burst)


class Gate:
    """`open_prefixes` are paths under /v1 whose callers prove themselves otherwise, as signed webhooks do."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        verifier: TokenVerifier,
        limits: Limits,
        callers: RateLimiter,
        open_prefixes: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._open_prefixes = open_prefixes
        self._callers = callers
        self._strangers = RateLimiter(
            per_s=limits.stranger_requests_per_s, burst=limits.stranger_requests_burst
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(GUARDED):
            if path.startswith(self._open_prefixes):
                self._strangers.take(_address(scope))
            else:
                scope[CALLER] = await self._admit(scope)
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Caller:
        try:
            bearer = _bearer(scope)
        except (TokenMissing, TokenMalformed):
            self._strangers.take(_address(scope))
            raise
        if self._verifier.find_cached(bearer) is None:
            self._strangers.take(_address(scope))
        caller = await self._verifier.verify(bearer)
        self._callers.take(caller.token_id)
        if caller.tenant is not None:
            trace.get_current_span().set_attribute("perennial.tenant", caller.tenant)
        return caller


def _bearer(scope: Scope) -> str:
    found: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    if not found:
        raise TokenMissing(
            "the request carries no token", remedy="Send the header Authorization: Bearer <token>."
        )
    kind, _, token = found[0].decode("latin-1").partition(" ")
    if len(found) > 1 or kind.lower() != "bearer":
        raise TokenMalformed(
            "the header Authorization does not hold one bearer token",
            remedy="Send the header Authorization: Bearer <token>.",
        )
    return token.strip()


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"

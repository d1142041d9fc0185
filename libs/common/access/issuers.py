"""Foreign OpenID issuers: which are trusted, and their public keys, fetched when needed and kept.

A trusted issuer can name any tenant in its tokens unless `tenants` restricts it: an issuer that belongs to
one tenant must be restricted to that tenant. It cannot make operators unless `may_operate` says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from libs.common.clock import Clock
from libs.common.errors import ServiceError, TransientError

DOCUMENT_BYTES_MAX = 256 * 1024
KEYS_MAX = 100
REFETCH_AFTER = timedelta(minutes=1)  # for an unknown kid: a forger must not make us call the issuer at will
RENEW_AFTER = timedelta(minutes=10)  # so that a key the issuer has dropped is dropped here
KEEP_AT_MOST = timedelta(hours=24)  # while the issuer cannot be reached
RETRY_AFTER = timedelta(seconds=5)
TIMEOUT_S = 3.0

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ALGORITHM_OF_KEY = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}

_log = logging.getLogger(__name__)


class IssuerMisconfigured(ServiceError):
    """A trusted issuer must have an https address (http on the loopback only) and an audience."""

    code: ClassVar[str] = "issuer_misconfigured"
    title: ClassVar[str] = "A token issuer is misconfigured"


class IssuerUnavailable(TransientError):
    """The keys of a trusted issuer cannot be fetched, and none are kept."""

    code: ClassVar[str] = "issuer_unavailable"
    title: ClassVar[str] = "The token's issuer cannot be reached"


@dataclass(frozen=True, slots=True)
class Issuer:
    """One trusted issuer: `url` is compared with the claim `iss` letter by letter."""

    url: str
    audience: str
    tenants: frozenset[str] | None = None
    may_operate: bool = False

    def __post_init__(self) -> None:
        if not self.audience or not _is_safe(self.url):
            raise IssuerMisconfigured("an issuer needs an https address and an audience", url=self.url)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and the one algorithm that it may be used with."""

    kid: str
    algorithm: str
    key: Any


class IssuerKeys:
    """The public keys of one issuer, found by its discovery document."""

    def __init__(self, issuer: Issuer, *, client: httpx.AsyncClient, clock: Clock) -> None:
        self.issuer = issuer
        self._client = client
        self._clock = clock
        self._keys: Mapping[str, VerificationKey] = {}
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._fetching = asyncio.Lock()

    async def find(self, kid: str) -> VerificationKey | None:
        """Raises: IssuerUnavailable when there are no keys to look in."""
        if self._wants_fetch(kid):
            async with self._fetching:
                if self._wants_fetch(kid):  # unless somebody else has just fetched them
                    await self._fetch()
        if self._fetched_at is None or self._clock.system_now() - self._fetched_at > KEEP_AT_MOST:
            raise IssuerUnavailable(
                "the keys of the token's issuer cannot be fetched", issuer=self.issuer.url
            )
        return self._keys.get(kid)

    def _wants_fetch(self, kid: str) -> bool:
        now = self._clock.system_now()
        if self._fetched_at is None:
            return self._tried_at is None or now - self._tried_at >= RETRY_AFTER
        assert self._tried_at is not None, "whatever was fetched was tried"
        age = now - self._fetched_at if kid in self._keys else None
        return now - self._tried_at >= REFETCH_AFTER and (age is None or age >= RENEW_AFTER)

    async def _fetch(self) -> None:
        self._tried_at = self._clock.system_now()
        try:
            about = await self._document(self.issuer.url.rstrip("/") + "/.well-known/openid-configuration")
            if about.get("issuer") != self.issuer.url:
                raise ValueError("the discovery document belongs to another issuer")
            address = about.get("jwks_uri")
            if not isinstance(address, str) or not _is_safe(address):
                raise ValueError("jwks_uri is not an https address")
            self._keys = _usable_keys((await self._document(address)).get("keys"))
            self._fetched_at = self._tried_at
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError) as error:
            _log.warning("the keys of issuer %s cannot be fetched: %s", self.issuer.url, error)

    async def _document(self, url: str) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT_S), self._client.stream("GET", url) as response:
            if response.status_code != 200:
                raise ValueError(f"the issuer answered {response.status_code}")
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > DOCUMENT_BYTES_MAX:
                    raise ValueError("the issuer's document is too long")
        document = json.loads(content)
        if not isinstance(document, dict):
            raise ValueError("the issuer's document is no JSON object")
        return document


def new_issuer_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Redirects are not followed: they could lead away from https, or inward."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, transport=transport)


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def _usable_keys(jwks: object) -> dict[str, VerificationKey]:
    if not isinstance(jwks, list):
        raise ValueError("the issuer's key set holds no list of keys")
    found = (_usable_key(jwk) for jwk in jwks[:KEYS_MAX])
    return {key.kid: key for key in found if key is not None}


def _usable_key(jwk: object) -> VerificationKey | None:
    """A signing key whose type fits an algorithm of ours; secret (`oct`) and weak keys are passed over."""
    if not isinstance(jwk, dict):
        return None
    kid, kind, curve = jwk.get("kid"), jwk.get("kty"), jwk.get("crv")
    if not isinstance(kid, str) or not isinstance(kind, str) or not isinstance(curve, str | None):
        return None
    algorithm = _ALGORITHM_OF_KEY.get((kind, curve))
    if algorithm is None or jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(jwk, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key, RSAPublicKey) and not 2048 <= key.key_size <= 8192:
        return None
    return VerificationKey(kid=kid, algorithm=algorithm, key=key)

"""Bearer tokens: how the deployment's own are made, and how they and a trusted OpenID issuer's are verified.

Every service verifies alone and, for the deployment's own tokens, offline. A verified token is remembered by
its hash, so that a busy caller costs one signature check and not one a request; whether it was revoked is
asked each time. No error repeats any part of a token.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import httpx
import jwt

from libs.common.access.caller import Caller
from libs.common.access.issuers import Issuer, IssuerKeys, VerificationKey, new_issuer_client
from libs.common.access.keys import KeyFile, KeyFileUnusable, SigningKey
from libs.common.access.revocation import RevocationsUnknown, RevokedTokens
from libs.common.access.scopes import OPERATE, SCOPES, ScopeUnknown
from libs.common.clock import Clock, SystemClock
from libs.common.errors import InvalidInput, Unauthenticated
from libs.common.ids import new_id

__all__ = ["Caller", "Issuer", "TokenVerifier", "sign_token"]

OWN_ISSUER = "perennial"
OWN_AUDIENCE = "perennial"
ALGORITHMS = frozenset({"EdDSA", "ES256", "RS256"})
LIFETIME_MAX = timedelta(days=90)
LEEWAY = timedelta(seconds=5)  # for "not before" and "issued at" only: an expired token has expired
TOKEN_LENGTH_MAX = 8192
CACHE_MAX = 10_000
CACHE_FOREIGN = timedelta(minutes=10)  # a key that a foreign issuer has dropped stops working within this
KEY_FILE_LOOK_EVERY = timedelta(seconds=2)

_TOKEN_ID = re.compile(r"[\x21-\x7e]{1,200}")
_CUSTOMER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ASK_AGAIN = "Ask for a new token."

_log = logging.getLogger(__name__)


class TokenMissing(Unauthenticated):
    """The request names nobody."""

    code: ClassVar[str] = "token_missing"
    title: ClassVar[str] = "A token is needed"


class TokenMalformed(Unauthenticated):
    """This is no JWT, or it lacks what a token of ours must say."""

    code: ClassVar[str] = "token_malformed"
    title: ClassVar[str] = "The token cannot be read"


class TokenExpired(Unauthenticated):
    code: ClassVar[str] = "token_expired"
    title: ClassVar[str] = "The token has expired"


class TokenNotYetValid(Unauthenticated):
    """Its time has not come, or its issuer's clock is ahead."""

    code: ClassVar[str] = "token_not_yet_valid"
    title: ClassVar[str] = "The token is not valid yet"


class TokenKeyUnknown(Unauthenticated):
    """Signed with a key, or by an issuer, that is not trusted here."""

    code: ClassVar[str] = "token_key_unknown"
    title: ClassVar[str] = "The token's signer is not known"


class TokenForged(Unauthenticated):
    """The signature does not fit the content."""

    code: ClassVar[str] = "token_forged"
    title: ClassVar[str] = "The token's signature is wrong"


class TokenForOthers(Unauthenticated):
    """A good token, issued for another audience or another tenant than its issuer may name."""

    code: ClassVar[str] = "token_for_others"
    title: ClassVar[str] = "The token was issued for something else"


class TokenRevoked(Unauthenticated):
    code: ClassVar[str] = "token_revoked"
    title: ClassVar[str] = "The token was revoked"


class TokenRequestInvalid(InvalidInput):
    """Such a token cannot be issued."""

    code: ClassVar[str] = "token_request_invalid"
    title: ClassVar[str] = "No such token can be issued"


def sign_token(
    key: SigningKey,
    *,
    tenant: str | None,
    scopes: Iterable[str],
    now: datetime,
    lifetime_s: int,
    customer: str | None = None,
    token_id: str | None = None,
) -> str:
    """A token of the deployment's own. Pass `token_id` to know it afterwards: it is what a revocation names.

    Raises: TokenRequestInvalid, ScopeUnknown.
    """
    granted = frozenset(scopes)
    if unknown := sorted(granted - SCOPES.keys()):
        raise ScopeUnknown("there is no such scope", scopes=" ".join(unknown), known=" ".join(SCOPES))
    if not 0 < lifetime_s <= LIFETIME_MAX.total_seconds():
        raise TokenRequestInvalid(f"a token lives from 1 second to {LIFETIME_MAX.days} days")
    if tenant is not None and _as_tenant(tenant) is None:
        raise TokenRequestInvalid("a tenant is a UUID")
    if tenant is None and OPERATE not in granted:
        raise TokenRequestInvalid(f"only a token with the scope {OPERATE} may do without a tenant")
    if customer is not None and (tenant is None or OPERATE in granted or not _CUSTOMER.fullmatch(customer)):
        raise TokenRequestInvalid("a portal token names a tenant and a customer of it, and never operates")
    issued_at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": OWN_ISSUER,
        "aud": OWN_AUDIENCE,
        "iat": issued_at,
        "exp": issued_at + lifetime_s,
        "jti": token_id or new_id("tok", now),
        "scope": " ".join(sorted(granted)),
    }
    if tenant is not None:
        claims["tenant"] = tenant
    if customer is not None:
        claims["customer"] = customer
    return jwt.encode(claims, key.private_key, algorithm="EdDSA", headers={"kid": key.kid})


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    good_until: datetime


class TokenVerifier:
    """Tells who is asking. `revoked` may be left out where tokens live too short to be revoked, as in tests.

    The key file is looked at every two seconds, so that a rotation reaches running processes; a key that left
    the file stops working at once, cached tokens included.
    """

    def __init__(
        self,
        key_file: Path | None,
        *,
        issuers: Sequence[Issuer] = (),
        revoked: RevokedTokens | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._key_file = KeyFile.load(key_file) if key_file is not None else None
        self._own_keys = _own_keys(self._key_file)
        self._looked_at = self._clock.system_now()
        self._revoked = revoked
        self._client = new_issuer_client(transport) if issuers else None
        self._issuers = {
            issuer.url: IssuerKeys(issuer, client=self._client, clock=self._clock)
            for issuer in issuers
            if self._client is not None
        }
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    def find_cached(self, bearer: str) -> Caller | None:
        """The caller when this very token was verified lately. Never costs a signature check."""
        known = self._verified.get(_digest(bearer))
        return known.caller if known and self._clock.system_now() < known.good_until else None

    def find_good(self, bearer: str) -> Caller | None:
        """The caller when this very token was verified lately and is good still; else `verify` says what it is.

        As long as the list of revoked tokens was never read, none is.
        """
        now = self._clock.system_now()
        self._look_at_key_file(now)
        digest = _digest(bearer)
        known = self._verified.get(digest)
        if known is None or known.good_until <= now:
            return None
        try:
            if self._revoked is not None and known.caller in self._revoked:
                return None
        except RevocationsUnknown:
            return None
        self._verified.move_to_end(digest)
        return known.caller

    async def verify(self, bearer: str) -> Caller:
        """Who asks. `bearer` is the token alone, without the word before it.

        Raises: a leaf of Unauthenticated; IssuerUnavailable or RevocationsUnknown, which may pass later.
        """
        now = self._clock.system_now()
        self._look_at_key_file(now)
        digest = _digest(bearer)
        known = self._verified.get(digest)
        if known is None or known.good_until <= now:
            known = await self._verify(bearer, now)
            self._verified[digest] = known
            while len(self._verified) > CACHE_MAX:
                self._verified.popitem(last=False)
        else:
            self._verified.move_to_end(digest)
        if self._revoked is not None and known.caller in self._revoked:
            raise TokenRevoked("the token was revoked", remedy=_ASK_AGAIN)
        return known.caller

    def _look_at_key_file(self, now: datetime) -> None:
        if self._key_file is None or now - self._looked_at < KEY_FILE_LOOK_EVERY:
            return
        self._looked_at = now
        try:
            found = KeyFile.load(self._key_file.path)
        except KeyFileUnusable as error:
            _log.warning("the key file cannot be read again; the keys in memory stay: %s", error)
            return
        keys = _own_keys(found)
        if keys.keys() != self._own_keys.keys():
            self._key_file, self._own_keys = found, keys
            self._verified.clear()

    async def _verify(self, bearer: str, now: datetime) -> _Verified:
        if not bearer:
            raise TokenMissing("the request carries no token", remedy=_ASK_AGAIN)
        header, unverified = _unverified(bearer)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or "crit" in header:
            raise TokenMalformed("the token is signed in a way that is not accepted here", remedy=_ASK_AGAIN)
        if not isinstance(kid, str):
            raise TokenMalformed("the token does not name its key (kid)", remedy=_ASK_AGAIN)
        address = unverified.get("iss")
        foreign = self._issuers.get(address) if isinstance(address, str) else None
        if foreign is not None:
            key, audience = await foreign.find(kid), foreign.issuer.audience
        elif address == OWN_ISSUER:
            key, audience = self._own_keys.get(kid), OWN_AUDIENCE
        else:
            key, audience = None, ""
        if key is None or key.algorithm != algorithm:
            raise TokenKeyUnknown("the token is signed with a key that is not known here", remedy=_ASK_AGAIN)
        claims = _verified_claims(bearer, key, audience)
        expires_at = _check_times(claims, now, own=foreign is None)
        caller = _caller(claims, expires_at, foreign.issuer if foreign else None)
        good_until = expires_at if foreign is None else min(expires_at, now + CACHE_FOREIGN)
        return _Verified(caller=caller, good_until=good_until)


def _own_keys(key_file: KeyFile | None) -> dict[str, VerificationKey]:
    keys = key_file.keys if key_file is not None else ()
    return {key.kid: VerificationKey(kid=key.kid, algorithm="EdDSA", key=key.public_key) for key in keys}


def _digest(bearer: str) -> bytes:
    return hashlib.sha256(bearer.encode("utf-8", "surrogatepass")).digest()


def _unverified(bearer: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims as they stand, to find the key by; nothing else may be read from them."""
    if len(bearer) > TOKEN_LENGTH_MAX:
        raise TokenMalformed("the token is too long", remedy=_ASK_AGAIN)
    try:
        read = jwt.decode_complete(bearer, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        # The cause is left out, here and below, since it may quote the token.
        raise TokenMalformed("the token is not a signed JWT", remedy=_ASK_AGAIN) from None
    return read["header"], read["payload"]


def _verified_claims(bearer: str, key: VerificationKey, audience: str) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(
            bearer,
            key=key.key,
            algorithms=[key.algorithm],
            audience=audience,
            options={
                "require": ["exp", "iss", "aud"],
                "verify_exp": False,  # the three times are checked below, with our clock and our leeway
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidSignatureError:
        raise TokenForged("the token's signature does not fit", remedy=_ASK_AGAIN) from None
    except jwt.InvalidAudienceError:
        raise TokenForOthers("the token was issued for another audience", remedy=_ASK_AGAIN) from None
    except (jwt.PyJWTError, ValueError):
        raise TokenMalformed("the token lacks a claim that is needed", remedy=_ASK_AGAIN) from None
    return claims


def _check_times(claims: Mapping[str, Any], now: datetime, *, own: bool) -> datetime:
    """When the token expires. Raises: TokenExpired, TokenNotYetValid, TokenMalformed."""
    expires_at = _instant(claims, "exp")
    issued_at, begins_at = _instant(claims, "iat"), _instant(claims, "nbf")
    if expires_at is None or (own and issued_at is None):
        raise TokenMalformed("the token does not say from when until when it lives", remedy=_ASK_AGAIN)
    if expires_at <= now:
        raise TokenExpired("the token has expired", expired_at=expires_at, remedy=_ASK_AGAIN)
    if max(issued_at or now, begins_at or now) > now + LEEWAY:
        raise TokenNotYetValid("the token is not valid yet", remedy="Wait, or correct the issuer's clock.")
    if expires_at - (issued_at or now) > LIFETIME_MAX:
        raise TokenMalformed(f"the token lives longer than {LIFETIME_MAX.days} days", remedy=_ASK_AGAIN)
    return expires_at


def _instant(claims: Mapping[str, Any], name: str) -> datetime | None:
    seconds = claims.get(name)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TokenMalformed(f"the token's {name} is no number of seconds", remedy=_ASK_AGAIN)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise TokenMalformed(f"the token's {name} is out of range", remedy=_ASK_AGAIN) from None


def _caller(claims: Mapping[str, Any], expires_at: datetime, issuer: Issuer | None) -> Caller:
    scopes = _scopes(claims)
    if issuer is not None and not issuer.may_operate:
        scopes -= {OPERATE}
    tenant = _as_tenant(claims.get("tenant"))
    if tenant is None and (OPERATE not in scopes or "tenant" in claims):
        raise TokenMalformed("the token names no tenant", remedy=_ASK_AGAIN)
    if issuer is not None and issuer.tenants is not None and tenant not in issuer.tenants:
        raise TokenForOthers("the token's issuer may not speak for this tenant", remedy=_ASK_AGAIN)
    customer = claims.get("customer")
    if customer is not None and (
        tenant is None
        or OPERATE in scopes
        or not isinstance(customer, str)
        or not _CUSTOMER.fullmatch(customer)
    ):
        raise TokenMalformed("the token names a customer in a way that cannot be", remedy=_ASK_AGAIN)
    return Caller(
        tenant=tenant,
        scopes=scopes,
        customer=customer,
        token_id=_token_id(claims, issuer),
        expires_at=expires_at,
    )


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Those that we know: an OpenID token may well carry `openid` and `email`, which mean nothing here."""
    given = claims.get("scope", claims.get("scopes", ()))
    names = given.split() if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TokenMalformed("the token's scopes cannot be read", remedy=_ASK_AGAIN)
    return frozenset(names) & SCOPES.keys()


def _token_id(claims: Mapping[str, Any], issuer: Issuer | None) -> str:
    token_id = claims.get("jti")
    if issuer is not None and token_id is None:
        # OpenID does not ask for an id; who, when and until when names the token well enough to revoke it.
        told = "\n".join(str(claims.get(name)) for name in ("sub", "iat", "exp"))
        token_id = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:26]
    if not isinstance(token_id, str) or not _TOKEN_ID.fullmatch(token_id):
        raise TokenMalformed("the token has no usable id (jti)", remedy=_ASK_AGAIN)
    if issuer is None:
        return token_id
    return f"{hashlib.sha256(issuer.url.encode()).hexdigest()[:12]}.{token_id}"


def _as_tenant(value: object) -> str | None:
    """The tenant in its one spelling, or None when this is no UUID that could be a tenant's."""
    if not isinstance(value, str) or len(value) != 36:
        return None
    try:
        tenant = UUID(value)
    except ValueError:
        return None
    return str(tenant) if tenant.int else None

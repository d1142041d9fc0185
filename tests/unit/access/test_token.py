"""Tokens of our own key: who passes, who does not, and what errors say."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from libs.common.access import token as tokens
from libs.common.access.keys import KeyFile, SigningKey
from libs.common.access.revocation import RevocationsUnknown, RevokedTokens
from libs.common.access.scopes import ScopeMissing, ScopeUnknown, require
from libs.common.access.token import TokenRequestInvalid, TokenVerifier, sign_token
from libs.common.clock import TestClock
from libs.common.errors import Unauthenticated

TENANT = "0190f0a0-0000-7000-8000-000000000001"
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


class MovableClock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def system_now(self) -> datetime:
        return self.now

    def business_now(self, test_clock: TestClock | None) -> datetime:
        return self.now


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return KeyFile.create(tmp_path / "keys.json")


@pytest.fixture
def verifier(key_file: KeyFile, clock: MovableClock) -> TokenVerifier:
    return TokenVerifier(key_file.path, clock=clock)


def a_token(key: SigningKey, **changes: Any) -> str:
    told: dict[str, Any] = {
        "tenant": TENANT,
        "scopes": ["billing:read", "usage:write"],
        "now": NOW,
        "lifetime_s": 3600,
        **changes,
    }
    return sign_token(key, **told)


def a_jwt(key: SigningKey, *, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token with any claims; those changed to None are left out."""
    issued_at = int(NOW.timestamp())
    claims = {
        "iss": "perennial",
        "aud": "perennial",
        "iat": issued_at,
        "exp": issued_at + 3600,
        "jti": "tok_1",
        "scope": "billing:read",
        "tenant": TENANT,
        **changes,
    }
    claims = {name: claim for name, claim in claims.items() if claim is not None}
    return jwt.encode(claims, key.private_key, algorithm="EdDSA", headers={"kid": key.kid, **(headers or {})})


def b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def refusal(verifier: TokenVerifier, bearer: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(bearer)
    if len(bearer) > 10:
        assert bearer not in str(caught.value)
        assert caught.value.__cause__ is None
    return caught.value.code


async def test_a_signed_token_says_who_is_asking(verifier: TokenVerifier, key_file: KeyFile) -> None:
    caller = await verifier.verify(a_token(key_file.signing_key, token_id="tok_x"))
    assert caller.tenant == TENANT
    assert caller.scopes == {"billing:read", "usage:write"}
    assert caller.customer is None
    assert caller.actor == "token:tok_x"
    assert caller.expires_at == NOW + timedelta(hours=1)
    assert not caller.operator


async def test_a_portal_token_names_its_customer(verifier: TokenVerifier, key_file: KeyFile) -> None:
    caller = await verifier.verify(a_token(key_file.signing_key, customer="cus_1"))
    assert caller.customer == "cus_1"


async def test_an_operator_needs_no_tenant(verifier: TokenVerifier, key_file: KeyFile) -> None:
    caller = await verifier.verify(a_token(key_file.signing_key, tenant=None, scopes=["operate"]))
    assert caller.operator
    assert caller.tenant is None


@pytest.mark.parametrize(
    "changes",
    [
        {"lifetime_s": 0},
        {"lifetime_s": 90 * 86400 + 1},
        {"tenant": None},
        {"tenant": "acme"},
        {"tenant": "00000000-0000-0000-0000-000000000000"},
        {"customer": "cus_1", "scopes": ["operate"]},
        {"customer": "no spaces"},
    ],
)
def test_tokens_that_could_never_pass_are_not_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRequestInvalid):
        a_token(SigningKey.generate(), **changes)


def test_an_unknown_scope_is_not_signed() -> None:
    with pytest.raises(ScopeUnknown):
        a_token(SigningKey.generate(), scopes=["billing:reed"])


async def test_the_longest_lifetime_is_ninety_days(verifier: TokenVerifier, key_file: KeyFile) -> None:
    await verifier.verify(a_token(key_file.signing_key, lifetime_s=90 * 86400))


async def test_expiry_is_exact_and_holds_for_cached_tokens_too(
    verifier: TokenVerifier, key_file: KeyFile, clock: MovableClock
) -> None:
    bearer = a_token(key_file.signing_key, lifetime_s=60)
    clock.now = NOW + timedelta(seconds=59)
    assert (await verifier.verify(bearer)).tenant == TENANT
    assert verifier.find_cached(bearer) is not None
    clock.now = NOW + timedelta(seconds=60)
    assert verifier.find_cached(bearer) is None
    assert await refusal(verifier, bearer) == "token_expired"


async def test_five_seconds_of_leeway_for_issued_at_and_not_before(
    verifier: TokenVerifier, key_file: KeyFile
) -> None:
    now = int(NOW.timestamp())
    for name in ("iat", "nbf"):
        await verifier.verify(a_jwt(key_file.signing_key, **{name: now + 5}))
        assert (
            await refusal(verifier, a_jwt(key_file.signing_key, **{name: now + 6})) == "token_not_yet_valid"
        )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": None}, "token_malformed"),
        ({"iat": None}, "token_malformed"),
        ({"jti": None}, "token_malformed"),
        ({"jti": "with space"}, "token_malformed"),
        ({"tenant": None}, "token_malformed"),
        ({"tenant": "x"}, "token_malformed"),
        ({"tenant": 5}, "token_malformed"),
        ({"customer": 5}, "token_malformed"),
        ({"customer": "cus_1", "scope": "operate"}, "token_malformed"),
        ({"scope": 5}, "token_malformed"),
        ({"exp": "tomorrow"}, "token_malformed"),
        ({"exp": 1e300}, "token_malformed"),
        ({"exp": True}, "token_malformed"),
        ({"exp": int(NOW.timestamp()) + 91 * 86400}, "token_malformed"),
        ({"exp": int(NOW.timestamp())}, "token_expired"),
        ({"aud": "others"}, "token_for_others"),
        ({"aud": None}, "token_malformed"),
        ({"iss": "https://elsewhere.example"}, "token_key_unknown"),
        ({"iss": None}, "token_key_unknown"),
    ],
)
async def test_claims_that_do_not_pass(
    verifier: TokenVerifier, key_file: KeyFile, changes: dict[str, Any], code: str
) -> None:
    assert await refusal(verifier, a_jwt(key_file.signing_key, **changes)) == code


@pytest.mark.parametrize(
    "bearer",
    ["x", "a.b.c", "..", "é.é.é", "\ud800", "x" * 9000, f"{b64({'alg': 'EdDSA'})}.{'WyJb' * 1800}.AA"],
    ids=["x", "a.b.c", "dots", "not_ascii", "surrogate", "long", "odd_payload"],
)
async def test_what_is_no_jwt_is_malformed(verifier: TokenVerifier, bearer: str) -> None:
    assert await refusal(verifier, bearer) == "token_malformed"


async def test_deeply_nested_claims_are_malformed(verifier: TokenVerifier, key_file: KeyFile) -> None:
    nested = base64.urlsafe_b64encode(b"[" * 4000).decode().rstrip("=")
    header = b64({"alg": "EdDSA", "kid": key_file.signing_key.kid})
    assert await refusal(verifier, f"{header}.{nested}.AAAA") == "token_malformed"


async def test_no_token_at_all(verifier: TokenVerifier) -> None:
    assert await refusal(verifier, "") == "token_missing"


async def test_a_changed_payload_is_forged(verifier: TokenVerifier, key_file: KeyFile) -> None:
    header, payload, signature = a_jwt(key_file.signing_key).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["scope"] = "operate"
    assert await refusal(verifier, f"{header}.{b64(claims)}.{signature}") == "token_forged"


async def test_another_key_under_our_kid_is_forged(verifier: TokenVerifier, key_file: KeyFile) -> None:
    forged = a_jwt(SigningKey.generate(), headers={"kid": key_file.signing_key.kid})
    assert await refusal(verifier, forged) == "token_forged"


async def test_another_key_is_unknown(verifier: TokenVerifier) -> None:
    assert await refusal(verifier, a_token(SigningKey.generate())) == "token_key_unknown"


async def test_no_other_algorithm_passes_with_our_key(verifier: TokenVerifier, key_file: KeyFile) -> None:
    key = key_file.signing_key
    claims = a_jwt(key).split(".")[1]
    none = f"{b64({'alg': 'none', 'kid': key.kid})}.{claims}."
    assert await refusal(verifier, none) == "token_malformed"
    secret = key.public_key.public_bytes_raw()
    payload = json.loads(base64.urlsafe_b64decode(claims + "=="))
    hashed = jwt.encode(payload, secret, algorithm="HS256", headers={"kid": key.kid})
    assert await refusal(verifier, hashed) == "token_malformed"
    mismatched = f"{b64({'alg': 'RS256', 'kid': key.kid})}.{claims}.AAAA"
    assert await refusal(verifier, mismatched) == "token_key_unknown"


async def test_headers_and_issuers_of_odd_types_do_not_pass(
    verifier: TokenVerifier, key_file: KeyFile
) -> None:
    key = key_file.signing_key
    claims = a_jwt(key).split(".")[1]
    critical = a_jwt(key, headers={"crit": ["x"], "x": 1})
    assert await refusal(verifier, critical) == "token_malformed"
    for kid in (None, 5, ["x"]):
        assert (
            await refusal(verifier, f"{b64({'alg': 'EdDSA', 'kid': kid})}.{claims}.AAAA") == "token_malformed"
        )
    odd_issuer = f"{b64({'alg': 'EdDSA', 'kid': key.kid})}.{b64({'iss': ['perennial']})}.AAAA"
    assert await refusal(verifier, odd_issuer) == "token_key_unknown"


async def test_rotation_reaches_a_running_verifier(
    verifier: TokenVerifier, key_file: KeyFile, clock: MovableClock
) -> None:
    old = a_token(key_file.signing_key)
    await verifier.verify(old)
    once = key_file.rotate()
    clock.now += timedelta(seconds=2)
    await verifier.verify(a_token(once.signing_key))
    await verifier.verify(old)
    once.rotate()
    clock.now += timedelta(seconds=2)
    assert await refusal(verifier, old) == "token_key_unknown"


async def test_an_unreadable_key_file_leaves_the_keys_in_memory(
    verifier: TokenVerifier, key_file: KeyFile, clock: MovableClock
) -> None:
    key_file.path.unlink()
    clock.now += timedelta(seconds=10)
    await verifier.verify(a_token(key_file.signing_key))


async def test_a_revoked_token_is_refused_although_it_is_cached(
    key_file: KeyFile, clock: MovableClock
) -> None:
    ids: list[str] = []

    async def load() -> list[str]:
        return ids

    revoked = RevokedTokens(load)
    verifier = TokenVerifier(key_file.path, clock=clock, revoked=revoked)
    bearer = a_token(key_file.signing_key, token_id="tok_bad")
    with pytest.raises(RevocationsUnknown):
        await verifier.verify(bearer)
    await revoked.refresh()
    await verifier.verify(bearer)
    ids.append("tok_bad")
    await revoked.refresh()
    assert await refusal(verifier, bearer) == "token_revoked"


async def test_the_cache_is_bounded(
    verifier: TokenVerifier, key_file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "CACHE_MAX", 2)
    bearers = [a_token(key_file.signing_key) for _ in range(3)]
    for bearer in bearers:
        await verifier.verify(bearer)
    assert [verifier.find_cached(bearer) is not None for bearer in bearers] == [False, True, True]


async def test_a_scope_is_named_when_it_is_missing(verifier: TokenVerifier, key_file: KeyFile) -> None:
    caller = await verifier.verify(a_token(key_file.signing_key))
    require(caller, "billing:read")
    with pytest.raises(ScopeMissing, match="billing:write"):
        require(caller, "billing:write")

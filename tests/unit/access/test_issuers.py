"""Foreign issuers: their keys are fetched when needed, seldom, and trusted for what they are only."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from libs.common.access import issuers
from libs.common.access.issuers import Issuer, IssuerMisconfigured, IssuerUnavailable
from libs.common.access.token import TokenVerifier
from libs.common.errors import Unauthenticated
from tests.unit.access.test_token import NOW, TENANT, MovableClock

URL = "https://login.example"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def public_jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    kinds: dict[type, Any] = {
        rsa.RSAPublicKey: RSAAlgorithm,
        ec.EllipticCurvePublicKey: ECAlgorithm,
        ed25519.Ed25519PublicKey: OKPAlgorithm,
    }
    public = key.public_key()
    algorithm = next(algorithm for kind, algorithm in kinds.items() if isinstance(public, kind))
    return {**json.loads(algorithm.to_jwk(public)), "kid": kid, **more}


KEYS = [
    public_jwk(RSA, "rsa"),
    public_jwk(EC, "ec"),
    public_jwk(ED, "ed"),
    public_jwk(WEAK, "weak"),
    public_jwk(RSA, "encrypts", use="enc"),
    public_jwk(RSA, "other", alg="PS256"),
    {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "secret"},
    {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
    "nonsense",
]


class FakeIssuer:
    """Answers like an OpenID issuer, and counts how often it was asked for keys."""

    def __init__(self) -> None:
        self.keys: list[Any] = list(KEYS)
        self.asked = 0
        self.discovery: dict[str, Any] = {"issuer": URL, "jwks_uri": f"{URL}/keys"}
        self.fail: Callable[[], httpx.Response] | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.fail is not None:
            self.asked += 1
            return self.fail()
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json=self.discovery)
        self.asked += 1
        return httpx.Response(200, json={"keys": self.keys})


@pytest.fixture
def issuer() -> FakeIssuer:
    return FakeIssuer()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


def a_verifier(issuer: FakeIssuer, clock: MovableClock, **options: Any) -> TokenVerifier:
    trusted = Issuer(url=URL, audience="api", **options)
    return TokenVerifier(None, issuers=[trusted], clock=clock, transport=httpx.MockTransport(issuer))


def a_token(key: Any, algorithm: str, kid: str, **changes: Any) -> str:
    now = int(NOW.timestamp())
    claims = {
        "iss": URL,
        "aud": "api",
        "exp": now + 3600,
        "iat": now,
        "jti": "1",
        "scope": "openid billing:read",
        "tenant": TENANT,
        **changes,
    }
    claims = {name: claim for name, claim in claims.items() if claim is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


async def refusal(verifier: TokenVerifier, bearer: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(bearer)
    return caught.value.code


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")]
)
async def test_three_algorithms_pass(
    issuer: FakeIssuer, clock: MovableClock, key: Any, algorithm: str, kid: str
) -> None:
    caller = await a_verifier(issuer, clock).verify(a_token(key, algorithm, kid))
    assert (caller.tenant, caller.scopes) == (TENANT, {"billing:read"})
    assert caller.token_id.endswith(".1")
    assert caller.token_id != "1"


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (WEAK, "RS256", "weak"),
        (RSA, "RS256", "encrypts"),
        (RSA, "RS256", "other"),
        (RSA, "RS256", "ec"),
        (RSA, "RS256", "broken"),
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_keys_that_are_weak_or_for_something_else_do_not_pass(
    issuer: FakeIssuer, clock: MovableClock, key: Any, algorithm: str, kid: str
) -> None:
    assert await refusal(a_verifier(issuer, clock), a_token(key, algorithm, kid)) == "token_key_unknown"


async def test_a_shared_secret_and_another_algorithm_do_not_pass(
    issuer: FakeIssuer, clock: MovableClock
) -> None:
    verifier = a_verifier(issuer, clock)
    assert await refusal(verifier, a_token("secret" * 8, "HS256", "secret")) == "token_malformed"
    assert await refusal(verifier, a_token(RSA, "RS512", "rsa")) == "token_malformed"
    assert await refusal(verifier, a_token(RSA, "PS256", "rsa")) == "token_malformed"


async def test_an_unknown_kid_asks_again_at_most_once_a_minute(
    issuer: FakeIssuer, clock: MovableClock
) -> None:
    verifier = a_verifier(issuer, clock)
    await verifier.verify(a_token(RSA, "RS256", "rsa"))
    for _ in range(5):
        assert await refusal(verifier, a_token(ED, "EdDSA", "new")) == "token_key_unknown"
    assert issuer.asked == 1
    issuer.keys.append(public_jwk(ED, "new"))
    clock.now += timedelta(minutes=1)
    await verifier.verify(a_token(ED, "EdDSA", "new"))
    assert issuer.asked == 2


async def test_a_dropped_key_stops_working_within_minutes(issuer: FakeIssuer, clock: MovableClock) -> None:
    verifier = a_verifier(issuer, clock)
    bearer = a_token(RSA, "RS256", "rsa")
    await verifier.verify(bearer)
    issuer.keys = [public_jwk(ED, "ed")]
    clock.now += timedelta(minutes=10)
    assert await refusal(verifier, bearer) == "token_key_unknown"


async def test_known_keys_survive_an_outage_of_the_issuer(issuer: FakeIssuer, clock: MovableClock) -> None:
    verifier = a_verifier(issuer, clock)
    await verifier.verify(a_token(RSA, "RS256", "rsa"))
    issuer.fail = lambda: httpx.Response(503)
    clock.now += timedelta(minutes=30)
    await verifier.verify(a_token(RSA, "RS256", "rsa"))
    clock.now += timedelta(hours=24)
    with pytest.raises(IssuerUnavailable):
        await verifier.verify(a_token(RSA, "RS256", "rsa", exp=int(clock.now.timestamp()) + 60))


@pytest.mark.parametrize(
    "fail",
    [
        lambda: httpx.Response(500),
        lambda: httpx.Response(302, headers={"location": "https://evil.example"}),
        lambda: httpx.Response(200, content=b" " * (issuers.DOCUMENT_BYTES_MAX + 1)),
        lambda: httpx.Response(200, content=b"[]"),
        lambda: httpx.Response(200, content=b"[" * 100_000),
        lambda: httpx.Response(200, json={"issuer": "https://evil.example", "jwks_uri": f"{URL}/keys"}),
        lambda: httpx.Response(200, json={"issuer": URL, "jwks_uri": "http://inside.example/keys"}),
    ],
    ids=["error", "redirect", "too_long", "no_object", "deep", "other_issuer", "not_https"],
)
async def test_an_issuer_that_cannot_be_asked_is_an_outage_and_not_asked_at_will(
    issuer: FakeIssuer, clock: MovableClock, fail: Callable[[], httpx.Response]
) -> None:
    issuer.fail = fail
    verifier = a_verifier(issuer, clock)
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            await verifier.verify(a_token(RSA, "RS256", "rsa"))
    assert issuer.asked == 1
    issuer.fail = None
    clock.now += timedelta(seconds=5)
    await verifier.verify(a_token(RSA, "RS256", "rsa"))


async def test_an_issuer_speaks_for_its_tenants_only_and_makes_no_operators(
    issuer: FakeIssuer, clock: MovableClock
) -> None:
    elsewhere = frozenset({"0190f0a0-0000-7000-8000-000000000009"})
    bearer = a_token(RSA, "RS256", "rsa", scope="operate billing:read")
    assert await refusal(a_verifier(issuer, clock, tenants=elsewhere), bearer) == "token_for_others"
    assert not (await a_verifier(issuer, clock).verify(bearer)).operator
    assert (await a_verifier(issuer, clock, may_operate=True).verify(bearer)).operator


async def test_scopes_may_be_a_list_and_ids_may_be_missing(issuer: FakeIssuer, clock: MovableClock) -> None:
    bearer = a_token(RSA, "RS256", "rsa", scope=None, scopes=["usage:write"], jti=None, sub="somebody")
    caller = await a_verifier(issuer, clock).verify(bearer)
    assert caller.scopes == {"usage:write"}
    assert len(caller.token_id) > 20


async def test_another_audience_does_not_pass(issuer: FakeIssuer, clock: MovableClock) -> None:
    assert (
        await refusal(a_verifier(issuer, clock), a_token(RSA, "RS256", "rsa", aud="else"))
        == "token_for_others"
    )


@pytest.mark.parametrize("url", ["http://login.example", "ftp://login.example", "login.example", ""])
def test_an_issuer_without_https_is_misconfigured(url: str) -> None:
    with pytest.raises(IssuerMisconfigured):
        Issuer(url=url, audience="api")


def test_the_loopback_needs_no_https() -> None:
    Issuer(url="http://127.0.0.1:9000", audience="api")

"""The deployment as the command line sees it: over HTTP, with an operator's token of five minutes, or a tenant's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from libs.cli.settings import CliSettings
from libs.common.access.keys import KeyFile
from libs.common.access.scopes import OPERATE
from libs.common.access.token import sign_token
from libs.common.clock import SystemClock
from libs.common.errors import ServiceError

TIMEOUT_S = 600.0  # an audit looks at everything
LIFETIME_S = 300
PROGRESS_TYPE = "application/x-ndjson"
TENANT_SCOPES = ("catalog:read", "catalog:write", "usage:read", "usage:write", "billing:read")

_NAME_IT = "Start it with `make run`, or name its address in PERENNIAL_URL."


class Refused(ServiceError):
    """The deployment answered with a problem; its own words are passed on, and `problem` is all of it."""

    code = "refused_by_deployment"
    title = "The deployment refused"

    def __init__(self, status: int, reason: str, problem: Mapping[str, Any]) -> None:
        told = problem.get("detail") or problem.get("title") or reason
        super().__init__(f"{status} {told}", remedy=problem.get("remedy"))
        self.problem = problem


class Unreachable(ServiceError):
    code = "deployment_unreachable"
    title = "The deployment cannot be reached"


class AuditFailed(ServiceError):
    code = "audit_failed"
    title = "The audit did not come to an end"


class TokenUnusable(ServiceError):
    code = "token_unusable"
    title = "The token cannot be sent"


def operator_token(settings: CliSettings) -> str:
    """The given token, or one signed here. Raises: KeyFileUnusable, TokenUnusable."""
    if settings.token:
        return _given_token(settings)
    return _signed(settings, tenant=None, scopes=[OPERATE])


def tenant_token(settings: CliSettings, tenant: str | None) -> str:
    """A token of the tenant signed here, if one is named; else the given token, or that of the sandbox.

    Raises: KeyFileUnusable, TokenUnusable, TokenRefused, ScopeUnknown.
    """
    if tenant is not None:
        return _signed(settings, tenant=tenant, scopes=TENANT_SCOPES)
    if settings.token:
        return _given_token(settings)
    path = settings.sandbox_token_path
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        raise TokenUnusable(
            f"there is no token in PERENNIAL_TOKEN, and none of a sandbox in {path}",
            remedy="Start it with `make run`, name the tenant with --tenant, or set PERENNIAL_TOKEN.",
        ) from None


def _given_token(settings: CliSettings) -> str:
    if not (settings.token.isascii() and settings.token.isprintable()):
        raise TokenUnusable(
            "what PERENNIAL_TOKEN holds is no token",
            remedy="Set it to what `perennial token` prints, or leave it out.",
        )
    return settings.token


def _signed(settings: CliSettings, *, tenant: str | None, scopes: Sequence[str]) -> str:
    key = KeyFile.load(settings.key_path).signing_key
    now = SystemClock().system_now()
    return sign_token(key, tenant=tenant, scopes=scopes, now=now, lifetime_s=LIFETIME_S)


class Deployment:
    """A client that shows `token`, or else an operator's."""

    def __init__(
        self,
        settings: CliSettings,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Raises: KeyFileUnusable, TokenUnusable, Unreachable."""
        token = token if token is not None else operator_token(settings)
        try:
            self._client = httpx.Client(
                base_url=settings.url,
                headers={"authorization": f"Bearer {token}"},
                timeout=TIMEOUT_S,
                transport=transport,
            )
        except httpx.InvalidURL as error:
            raise Unreachable(f"{settings.url} is no address", remedy=_NAME_IT) from error

    def get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, query)

    def post(self, path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        return self._ask("POST", path, query, body)

    def download(self, path: str, **query: Any) -> Iterator[bytes]:
        """What is answered, part by part as it comes. Raises: Unreachable, Refused."""
        try:
            with self._client.stream("GET", path, params=_given(query)) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refused(answer)
                yield from answer.iter_bytes()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"{self._client.base_url} has not answered, or broke its answer off", remedy=_NAME_IT
            ) from error

    def audit(self, service: str, say: Callable[[str], None]) -> Any:
        """The report of one service; `say` is told what it looks at, and how far it is.

        Raises: Unreachable, Refused.
        """
        path = f"/v1/{service}-operations/audit"
        try:
            with self._client.stream("GET", path, headers={"accept": PROGRESS_TYPE}) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refused(answer)
                for line in answer.iter_lines():
                    step = json.loads(line)
                    if "report" in step:
                        return step["report"]
                    if "error" in step:
                        raise AuditFailed(step["error"])
                    say(_spoken(step))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"{self._client.base_url} has not answered, or broke its answer off", remedy=_NAME_IT
            ) from error
        except ValueError as error:
            raise Unreachable(
                f"what answers at {self._client.base_url} is not Perennial", remedy=_NAME_IT
            ) from error
        raise AuditFailed(f"{service} broke its audit off", remedy="Look at its log.")

    def _ask(self, method: str, path: str, query: dict[str, Any], body: dict[str, Any] | None = None) -> Any:
        """What is None in query or body is left out. Raises: Unreachable, Refused."""
        sent = None if body is None else _given(body)
        try:
            answer = self._client.request(method, path, params=_given(query), json=sent)
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"{self._client.base_url} has not answered in time", remedy="Look at its log and its health."
            ) from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unreachable(f"nothing answers at {self._client.base_url}", remedy=_NAME_IT) from error
        if answer.is_success:
            try:
                return answer.json()
            except ValueError as error:
                raise Unreachable(
                    f"what answers at {self._client.base_url} is not Perennial", remedy=_NAME_IT
                ) from error
        raise _refused(answer)


def _spoken(step: Mapping[str, Any]) -> str:
    of = f" of {step['of']:,}" if step["of"] else ""
    return f"{step['check']}, {step['done']:,}{of}" if step["done"] else str(step["check"])


def _refused(answer: httpx.Response) -> Refused:
    is_problem = answer.headers.get("content-type", "").startswith("application/problem")
    return Refused(answer.status_code, answer.reason_phrase, answer.json() if is_problem else {})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}

"""The deployment as the command line sees it: over HTTP, with an operator's token of five minutes."""

from __future__ import annotations

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

_NAME_IT = "Start it with `make run`, or name its address in PERENNIAL_URL."


class Refused(ServiceError):
    """The deployment answered with a problem; its own words are passed on."""

    code = "refused_by_deployment"
    title = "The deployment refused"


class Unreachable(ServiceError):
    code = "deployment_unreachable"
    title = "The deployment cannot be reached"


class TokenUnusable(ServiceError):
    code = "token_unusable"
    title = "The token cannot be sent"


def operator_token(settings: CliSettings) -> str:
    """The given token, or one signed here. Raises: KeyFileUnusable, TokenUnusable."""
    if settings.token:
        if not (settings.token.isascii() and settings.token.isprintable()):
            raise TokenUnusable(
                "what PERENNIAL_TOKEN holds is no token",
                remedy="Set it to what `perennial token --operate` prints, or leave it out.",
            )
        return settings.token
    key = KeyFile.load(settings.key_path).signing_key
    now = SystemClock().system_now()
    return sign_token(key, tenant=None, scopes=[OPERATE], now=now, lifetime_s=LIFETIME_S)


class Deployment:
    """A client for the operators' routes."""

    def __init__(self, settings: CliSettings, *, transport: httpx.BaseTransport | None = None) -> None:
        """Raises: KeyFileUnusable, TokenUnusable, Unreachable."""
        token = operator_token(settings)
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

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._ask("POST", path, {}, body)

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
        told = (
            answer.json() if answer.headers.get("content-type", "").startswith("application/problem") else {}
        )
        raise Refused(
            f"{answer.status_code} {told.get('detail') or told.get('title') or answer.reason_phrase}",
            remedy=told.get("remedy"),
        )


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}

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


class Refused(ServiceError):
    """The deployment answered with a problem; its own words are passed on."""

    code = "refused_by_deployment"
    title = "The deployment refused"


class Unreachable(ServiceError):
    code = "deployment_unreachable"
    title = "The deployment cannot be reached"


def operator_token(settings: CliSettings) -> str:
    """The given token, or one signed here. Raises: KeyFileUnusable."""
    if settings.token:
        return settings.token
    key = KeyFile.load(settings.key_path).signing_key
    now = SystemClock().system_now()
    return sign_token(key, tenant=None, scopes=[OPERATE], now=now, lifetime_s=LIFETIME_S)


class Deployment:
    """A client for the operators' routes."""

    def __init__(self, settings: CliSettings, *, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=settings.url,
            headers={"authorization": f"Bearer {operator_token(settings)}"},
            timeout=TIMEOUT_S,
            transport=transport,
        )

    def get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, query)

    def post(self, path: str) -> Any:
        return self._ask("POST", path, {})

    def _ask(self, method: str, path: str, query: dict[str, Any]) -> Any:
        """Raises: Unreachable, Refused."""
        given = {name: value for name, value in query.items() if value is not None}
        try:
            answer = self._client.request(method, path, params=given)
        except httpx.TransportError as error:
            raise Unreachable(
                f"nothing answers at {self._client.base_url}",
                remedy="Start it with `make run`, or name its address in PERENNIAL_URL.",
            ) from error
        if answer.is_success:
            return answer.json()
        told = (
            answer.json() if answer.headers.get("content-type", "").startswith("application/problem") else {}
        )
        raise Refused(
            f"{answer.status_code} {told.get('detail') or told.get('title') or answer.reason_phrase}",
            remedy=told.get("remedy"),
        )

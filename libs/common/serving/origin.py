"""What belongs to the origin and to no service: the docs of all four, and whether all four are ready.

Every api process can answer it, so that a gateway needs to know only paths and addresses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from libs.common.contracts import SERVICES
from libs.common.telemetry import span
from libs.common.web.docs import docs_routes
from libs.common.web.health import READINESS_TIMEOUT_S

TITLE = "Perennial"
DOCS, READY = "/docs/all", "/health/all"

# A trace that is not sampled: to be asked whether one is ready, every few seconds, is no story to be kept.
_UNSAMPLED = "00-0000000000000000000000000000a11f-0000000000000001-00"

log = logging.getLogger(__name__)


def openapi_documents(services: Sequence[str] = SERVICES) -> dict[str, str]:
    """Where the origin serves the OpenAPI document of each service."""
    return {service: f"/openapi/{service}.json" for service in services}


def told_together(answers: Mapping[str, tuple[int, Any]]) -> Response:
    """Ready when all are. `answers`: status and body of each service's readiness."""
    is_ready = all(status == 200 for status, _ in answers.values())
    told = {
        "status": "ready" if is_ready else "not ready",
        "services": {service: body for service, (_, body) in answers.items()},
    }
    return JSONResponse(told, status_code=200 if is_ready else 503)


class Origin:
    """`peers_url` is the origin itself: what leads to each service's api leads to its readiness as well."""

    def __init__(self, peers_url: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=peers_url,
            timeout=READINESS_TIMEOUT_S,
            trust_env=False,
            verify=urlsplit(peers_url).scheme != "http",
        )

    def routes(self) -> list[BaseRoute]:
        return [
            Route(READY, self._ready, include_in_schema=False),
            *docs_routes(TITLE, openapi_documents(), path=DOCS),
        ]

    async def close(self) -> None:
        await self._client.aclose()

    async def _ready(self, request: Request) -> Response:
        with span("look at readiness", parent=_UNSAMPLED):
            answers = await asyncio.gather(*(self._ask(service) for service in SERVICES))
        return told_together(dict(zip(SERVICES, answers, strict=True)))

    async def _ask(self, service: str) -> tuple[int, Any]:
        try:
            answer = await self._client.get(f"/health/ready/{service}")
            told = answer.json()
        except (httpx.RequestError, ValueError) as error:
            log.info("readiness could not be asked", extra={"peer": service, "reason": repr(error)[:200]})
            told = {}
        if "checks" not in told:  # the gateway's words, or nobody's
            return 503, {"status": "unreachable"}
        return answer.status_code, told

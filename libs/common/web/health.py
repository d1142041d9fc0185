"""Whether the process lives, and whether it can do its work: what an orchestrator asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from libs.common.telemetry import current_service, metrics

READINESS_TIMEOUT_S = 5.0

Readiness = Callable[[], Awaitable[Mapping[str, bool]]]

_log = logging.getLogger(__name__)


def health_routes(readiness: Readiness) -> list[BaseRoute]:
    """`readiness` names what the service needs, and says of each whether it is there."""

    async def live(request: Request) -> JSONResponse:
        return JSONResponse({"status": "live"})

    async def ready(request: Request) -> JSONResponse:
        checks: Mapping[str, bool] = {}
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_S):
                checks = await readiness()
            good = all(checks.values())
        except Exception:
            _log.warning("readiness could not be told", exc_info=True)
            good = False
        metrics.ready(current_service.get(), good)
        told = {"status": "ready" if good else "not ready", "checks": dict(checks)}
        return JSONResponse(told, status_code=200 if good else 503)

    return [
        Route("/health/live", live, include_in_schema=False),
        Route("/health/ready", ready, include_in_schema=False),
    ]

"""One origin for four services: the first segment after /v1 or /api/v1 belongs to exactly one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.runtime import Service
from libs.common.serving.origin import TITLE, openapi_documents, told_together
from libs.common.telemetry import metrics_app, within_service
from libs.common.web.docs import docs_routes
from libs.common.web.gate import GUARDED


def segments_of(app: FastAPI) -> set[str]:
    """The beginnings of paths, up to the first segment after /v1 or /api/v1, that the app answers.

    Of its routes: its document would say them too, and takes longer to make than all else at the start.
    """
    paths = [route.path for route in app.routes if isinstance(route, Route)]
    return {found for path in paths if (found := _segment(path)) is not None}


def _segment(path: str) -> str | None:
    for prefix in GUARDED:
        if path.startswith(prefix):
            return prefix + path[len(prefix) :].partition("/")[0]
    return None


class Origin:
    """Hands each request to the service that owns its path; what belongs to none is answered here."""

    def __init__(self, services: Sequence[Service], *, routes: Sequence[BaseRoute] = ()) -> None:
        self._owners: dict[str, ASGIApp] = {}
        for service in services:
            app = within_service(service.app, service.name)
            for segment in segments_of(service.app):
                assert segment not in self._owners, f"{segment} belongs to two services"
                self._owners[segment] = app
        self._apps = {service.name: service.app for service in services}
        self._own = Starlette(
            routes=[
                Route("/", _to_docs),
                Route("/health/live", self._live),
                Route("/health/ready", self._ready),
                Route("/openapi/{name}.json", self._openapi),
                Route("/problems", self._problems),
                Route("/problems/{code}", self._problem),
                *docs_routes(TITLE, openapi_documents(list(self._apps))),
                *routes,
            ]
        )
        self._any = next(iter(self._owners.values()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "http" and (segment := _segment(path)) is not None:
            await self._owners.get(segment, self._any)(
                scope, receive, send
            )  # who owns none answers 404 as well
            return
        if path == "/metrics":
            await metrics_app(scope, receive, send)
            return
        await self._own(scope, receive, send)

    async def _live(self, request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _ready(self, request: Request) -> Response:
        """Ready when all four are."""
        answers = await asyncio.gather(*(_ask(app, "/health/ready") for app in self._apps.values()))
        told = [(answer.status_code, answer.json()) for answer in answers]
        return told_together(dict(zip(self._apps, told, strict=True)))

    async def _openapi(self, request: Request) -> Response:
        app = self._apps.get(request.path_params["name"])
        if app is None:
            return JSONResponse({"detail": "there is no such service"}, status_code=404)
        return JSONResponse(app.openapi())

    async def _problems(self, request: Request) -> Response:
        return await self._first(f"/problems{'?' + request.url.query if request.url.query else ''}")

    async def _problem(self, request: Request) -> Response:
        return await self._first(request.url.path)

    async def _first(self, path: str) -> Response:
        """The registry of problems is the same in all services of one process."""
        answer = await _ask(next(iter(self._apps.values())), path)
        return Response(
            answer.content, status_code=answer.status_code, media_type=answer.headers.get("content-type")
        )


async def _to_docs(request: Request) -> Response:
    return RedirectResponse("/docs")


async def _ask(app: ASGIApp, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        return await client.get(path)

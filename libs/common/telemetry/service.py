"""Which of the services is at work: one process may hold all of them, so the process cannot tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# The shapes of ASGI, spelled out here so that a worker needs no web framework to be observed.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# Tasks inherit it from whoever creates them. Empty outside of any service: the process itself.
current_service: ContextVar[str] = ContextVar("perennial_service", default="")


@contextmanager
def service_scope(name: str) -> Iterator[None]:
    """Spans, log lines and metrics made inside, and in tasks started inside, are this service's."""
    token = current_service.set(name)
    try:
        yield
    finally:
        current_service.reset(token)


def within_service(app: ASGIApp, name: str) -> ASGIApp:
    """The same ASGI app, its requests and its lifespan run as this service."""

    async def scoped(scope: Scope, receive: Receive, send: Send) -> None:
        token = current_service.set(name)  # by hand, as it is done for every request
        try:
            await app(scope, receive, send)
        finally:
            current_service.reset(token)

    return scoped

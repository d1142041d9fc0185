"""The servers that ours is compared with, each in a process of its own, under uvicorn as ours is."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def noop_app() -> Starlette:
    """One route that does nothing, at the path of ours."""

    async def nothing(request: Request) -> Response:
        return Response(b"{}", media_type="application/json")

    return Starlette(routes=[Route("/v1/usage-events", nothing, methods=["POST"])])


@asynccontextmanager
async def serving(make: Callable[[], Any]) -> AsyncIterator[int]:
    """Serve what `make` makes, within the new process, until the block is left; gives the port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make), daemon=True)
    process.start()
    theirs.close()
    try:
        port: int = await asyncio.to_thread(ours.recv)
        yield port
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()


def _serve(pipe: Connection, make: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_on(pipe, make()))


async def _serve_on(pipe: Connection, app: Any) -> None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="auto", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    pipe.send(listener.getsockname()[1])
    await serving

"""An app behind uvicorn, inside a loop that runs already; and the word to stop, as signals bring it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from libs.common.serving.hot_protocol import hot_protocol
from libs.common.web.hot_route import HotLane

KEEP_ALIVE_S = (
    75  # longer than a gateway keeps an idle connection, or it would ask on one that is just closed
)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound; port 0 lets the system choose. Raises: OSError."""
    # asyncio sends answers without delay only on sockets that say they are TCP: else each waits 40 ms for an ACK.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


@asynccontextmanager
async def served(
    app: ASGIApp,
    listener: socket.socket,
    *,
    lanes: Sequence[HotLane] = (),
    trusted_proxies: str = "127.0.0.1",
    grace_s: float = 5.0,
) -> AsyncIterator[None]:
    """Serve while the block runs; then answer, for `grace_s` at most, what was asked. `lanes` lead past `app`.

    uvicorn's own signal handlers are left out: the process decides when it stops.
    """
    config = uvicorn.Config(
        app,
        http=hot_protocol(lanes),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=trusted_proxies,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace_s)),
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([listener]))
    while not server.started:
        if serving.done():
            await serving
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def until_told(stopped: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopped()
        event.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield event
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

"""A socket in front of PostgreSQL that may lose the server's answer to a COMMIT, and the connection with it."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LossyProxy:
    """`losses` says how many answers are still to be lost; `lost` counts those that were.

    `rate` is the share of answers that are lost beyond those, as `chance` decides.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Streams]], *, chance: random.Random | None = None
    ) -> None:
        self._connect, self._chance = connect, chance or random.Random(0)
        self.losses = 0
        self.rate = 0.0
        self.lost = 0

    async def serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await self._connect()
        except OSError:  # the server is down: whoever asks finds nobody, as without us
            client_writer.close()
            return
        losing = asyncio.Event()

        async def ask() -> None:
            while data := await client_reader.read(65536):
                if b"COMMIT;\x00" in data and self._is_to_be_lost():
                    losing.set()
                server_writer.write(data)
                await server_writer.drain()

        async def answer() -> None:
            while data := await server_reader.read(65536):
                if losing.is_set():  # the server has answered, hence committed
                    self.lost += 1
                    return
                client_writer.write(data)
                await client_writer.drain()

        tasks = {asyncio.create_task(ask()), asyncio.create_task(answer())}
        _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in (client_writer, server_writer):
            with suppress(OSError):
                writer.close()

    def _is_to_be_lost(self) -> bool:
        if self.losses > 0:
            self.losses -= 1
            return True
        return self._chance.random() < self.rate


@asynccontextmanager
async def lossy_proxy(dsn: str) -> AsyncIterator[tuple[LossyProxy, str]]:
    """The proxy, and the address that leads through it. (The path of a socket must be short.)"""
    url = make_url(dsn)
    proxy = LossyProxy(lambda: asyncio.open_unix_connection(f"{url.query['host']}/{SOCKET}"))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        server = await asyncio.start_unix_server(proxy.serve, f"{folder}/{SOCKET}")
        try:
            yield proxy, url.update_query_dict({"host": folder}).render_as_string(hide_password=False)
        finally:
            server.close()


@contextmanager
def lossy_port(address: str, *, seed: int) -> Iterator[tuple[LossyProxy, str]]:
    """The proxy on a port of this machine, for other processes, and its own address; on a thread of its own.

    `address` is the server's, a host and a port; the server may come and go.
    """
    host, port = address.rsplit(":", 1)
    proxy = LossyProxy(lambda: asyncio.open_connection(host, int(port)), chance=random.Random(seed))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    try:
        yield proxy, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_leave(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _leave(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

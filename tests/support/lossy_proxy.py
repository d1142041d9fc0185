"""A socket in front of PostgreSQL that may lose the server's answer to a COMMIT, and the connection with it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"


class LossyProxy:
    """`losses` says how many answers are still to be lost; `lost` counts those that were."""

    def __init__(self, server_socket: str) -> None:
        self._server_socket = server_socket
        self.losses = 0
        self.lost = 0

    async def serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._server_socket)
        losing = asyncio.Event()

        async def ask() -> None:
            while data := await client_reader.read(65536):
                if b"COMMIT;\x00" in data and self.losses > 0:
                    self.losses -= 1
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


@asynccontextmanager
async def lossy_proxy(dsn: str) -> AsyncIterator[tuple[LossyProxy, str]]:
    """The proxy, and the address that leads through it. (The path of a socket must be short.)"""
    url = make_url(dsn)
    proxy = LossyProxy(f"{url.query['host']}/{SOCKET}")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        server = await asyncio.start_unix_server(proxy.serve, f"{folder}/{SOCKET}")
        try:
            yield proxy, url.update_query_dict({"host": folder}).render_as_string(hide_password=False)
        finally:
            server.close()

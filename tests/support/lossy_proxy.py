"""A socket in front of PostgreSQL on which connections may be lost, or somebody killed, exactly at a COMMIT."""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
Instant = Literal["before", "after"]

COMMIT = "COMMIT;"
_STARTUP_DATABASE = re.compile(rb"\x00database\x00([^\x00]+)\x00")


@dataclass(eq=False, slots=True)
class Trap:
    """Lies in wait for one message, and strikes when it comes by: before the server has it, or after it was done.

    Whoever sent it is told nothing more: the connection is gone.
    """

    instant: Instant
    strike: Callable[[], None]
    _sprung: threading.Event = field(default_factory=threading.Event)

    def spring(self) -> None:
        self.strike()
        self._sprung.set()

    def await_sprung(self, *, timeout_s: float = 90) -> None:
        assert self._sprung.wait(timeout_s), "what the trap lay in wait for did not come by"


@dataclass(eq=False, slots=True)
class _Connection:
    """What was seen of one: its database, and the names that it has given to the statements we look for."""

    database: str = ""
    names: dict[str, bytes] = field(default_factory=dict)

    def learn(self, data: bytes, statements: list[str]) -> None:
        if not self.database and (found := _STARTUP_DATABASE.search(data[:1000])):
            self.database = found[1].decode()
        for statement in statements:
            if named := re.search(rb"P.{4}([^\x00]+)\x00\s*" + statement.encode(), data, re.DOTALL):
                self.names[statement] = named[1]

    def runs(self, statement: str, data: bytes) -> bool:
        if statement == COMMIT:
            return b"COMMIT;\x00" in data
        name = self.names.get(statement)
        return (
            name is not None
            and re.search(rb"B.{4}[^\x00]*\x00" + name + rb"\x00", data, re.DOTALL) is not None
        )


@dataclass(eq=False, slots=True)
class _Laid:
    trap: Trap
    database: str
    statement: str


class LossyProxy:
    """`losses` says how many answers to COMMIT are still to be lost, with their connections; `lost` counts them.

    `cuts` says how many connections are still to be lost before the server sees their COMMIT, `cut` counts those.
    `rate` is the share of answers that are lost beyond that, as `chance` decides.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Streams]], *, chance: random.Random | None = None
    ) -> None:
        self._connect, self._chance = connect, chance or random.Random(0)
        self._laid: list[_Laid] = []
        self._statements: list[str] = []
        self.losses = self.cuts = 0
        self.rate = 0.0
        self.lost = self.cut = 0

    def watch(self, *statements: str) -> None:
        """Beside COMMIT: how they begin. Only connections made from now on are known by them."""
        self._statements += statements

    def lay(
        self, instant: Instant, strike: Callable[[], None], *, database: str, statement: str = COMMIT
    ) -> Trap:
        trap = Trap(instant, strike)
        self._laid.append(_Laid(trap, database, statement))
        return trap

    async def serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await self._connect()
        except OSError:  # the server is down: whoever asks finds nobody, as without us
            client_writer.close()
            return
        losing = asyncio.Event()
        sprung: list[Trap] = []
        seen = _Connection()

        async def ask() -> None:
            while data := await client_reader.read(65536):
                seen.learn(data, self._statements)
                trap = self._trap(seen, data)
                if trap is not None and trap.instant == "before":
                    await asyncio.to_thread(trap.spring)
                    return
                if trap is not None:
                    sprung.append(trap)
                elif seen.runs(COMMIT, data):
                    if self.cuts > 0:
                        self.cuts, self.cut = self.cuts - 1, self.cut + 1
                        return
                    if self._is_to_be_lost():
                        losing.set()
                server_writer.write(data)
                await server_writer.drain()

        async def answer() -> None:
            while data := await server_reader.read(65536):
                if sprung:  # the server has answered, hence committed
                    await asyncio.to_thread(sprung[0].spring)
                    return
                if losing.is_set():
                    self.lost += 1
                    return
                client_writer.write(data)
                await client_writer.drain()

        await until_either_ends(ask(), answer())
        for writer in (client_writer, server_writer):
            with suppress(OSError):
                writer.close()

    def _trap(self, seen: _Connection, data: bytes) -> Trap | None:
        for laid in self._laid:
            if laid.database == seen.database and seen.runs(laid.statement, data):
                self._laid.remove(laid)
                return laid.trap
        return None

    def _is_to_be_lost(self) -> bool:
        if self.losses > 0:
            self.losses -= 1
            return True
        return self._chance.random() < self.rate


async def until_either_ends(*ways: Coroutine[Any, Any, None]) -> None:
    """Both ways of a connection; when one has ended, so has the other. To be canceled is to be closed."""
    tasks = {asyncio.create_task(way) for way in ways}
    with suppress(asyncio.CancelledError):
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def lossy_proxy(dsn: str) -> AsyncIterator[tuple[LossyProxy, str]]:
    """The proxy, and the address that leads through it. (The path of a socket must be short.)"""
    proxy = _in_front_of(dsn)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        server = await asyncio.start_unix_server(proxy.serve, f"{folder}/{SOCKET}")
        try:
            yield proxy, _through(dsn, folder)
        finally:
            server.close()


@contextmanager
def lossy_socket(dsn: str) -> Iterator[tuple[LossyProxy, str]]:
    """The same for other processes, on a thread of its own; the server may come and go."""
    proxy = _in_front_of(dsn)
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        serving(lambda: asyncio.start_unix_server(proxy.serve, f"{folder}/{SOCKET}")),
    ):
        yield proxy, _through(dsn, folder)


def _in_front_of(dsn: str) -> LossyProxy:
    path = f"{make_url(dsn).query['host']}/{SOCKET}"
    return LossyProxy(lambda: asyncio.open_unix_connection(path))


def _through(dsn: str, folder: str) -> str:
    return make_url(dsn).update_query_dict({"host": folder}).render_as_string(hide_password=False)


@contextmanager
def lossy_port(address: str, *, seed: int) -> Iterator[tuple[LossyProxy, str]]:
    """The proxy on a port of this machine, for other processes, and its own address; on a thread of its own.

    `address` is the server's, a host and a port; the server may come and go.
    """
    host, port = address.rsplit(":", 1)
    proxy = LossyProxy(lambda: asyncio.open_connection(host, int(port)), chance=random.Random(seed))
    with serving(lambda: asyncio.start_server(proxy.serve, "127.0.0.1", 0)) as server:
        yield proxy, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextmanager
def serving(start: Callable[[], Coroutine[Any, Any, asyncio.Server]]) -> Iterator[asyncio.Server]:
    """On an event loop and a thread of its own, until the block is left."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(_leave(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _leave(server: asyncio.Server) -> None:
    server.close()
    # Those that serve end their own two tasks.
    others = {task for task in asyncio.all_tasks() if _serves(task)}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _serves(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "").endswith(".serve")

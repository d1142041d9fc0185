"""A socket in front of Kafka on which somebody may be killed exactly at what he publishes or acknowledges."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.support.lossy_proxy import Instant, Trap, serving, until_either_ends

# The keys of two requests: https://kafka.apache.org/protocol#protocol_api_keys
PUBLISH, ACKNOWLEDGE = 0, 8
_HEAD = struct.Struct(">hhih")  # key, version, correlation id, length of the client's id


@dataclass(eq=False, slots=True)
class _Laid:
    """`client` is the one that came by."""

    trap: Trap
    clients: Sequence[str]
    request: int
    client: str = ""


class KafkaProxy:
    """Hands requests and answers on, frame by frame."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._laid: list[_Laid] = []

    def lay(
        self, instant: Instant, strike: Callable[[str], None], *, clients: Sequence[str], request: int
    ) -> Trap:
        """For the next request of this kind that one of these clients sends; `strike` is told which of them."""
        laid = _Laid(Trap(instant, lambda: strike(laid.client)), clients, request)
        self._laid.append(laid)
        return laid.trap

    async def serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:  # the broker is down: whoever asks finds nobody, as without us
            client_writer.close()
            return
        awaited: dict[int, Trap] = {}  # by the correlation id of the request

        async def ask() -> None:
            while frame := await _frame(client_reader):
                request, _, correlation, name_length = _HEAD.unpack_from(frame)
                start = _HEAD.size
                client = frame[start : start + max(0, name_length)].decode()
                trap = self._trap(client, request)
                if trap is not None and trap.instant == "before":
                    await asyncio.to_thread(trap.spring)
                    return
                if trap is not None:
                    awaited[correlation] = trap
                await _hand_on(frame, server_writer)

        async def answer() -> None:
            while frame := await _frame(server_reader):
                trap = awaited.pop(int.from_bytes(frame[:4]), None)
                if trap is not None:
                    await asyncio.to_thread(trap.spring)
                    return
                await _hand_on(frame, client_writer)

        await until_either_ends(ask(), answer())
        for writer in (client_writer, server_writer):
            with suppress(OSError):
                writer.close()

    def _trap(self, client: str, request: int) -> Trap | None:
        for laid in self._laid:
            if client in laid.clients and request == laid.request:
                self._laid.remove(laid)
                laid.client = client
                return laid.trap
        return None


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """Nothing at the end of the stream."""
    try:
        return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def _hand_on(frame: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(len(frame).to_bytes(4) + frame)
    await writer.drain()


@contextmanager
def kafka_proxy(host: str, port: int, *, broker_host: str = "127.0.0.1") -> Iterator[KafkaProxy]:
    """At the broker's own port on another host of this machine: the address that the broker tells its clients."""
    proxy = KafkaProxy(broker_host, port)
    with serving(lambda: asyncio.start_server(proxy.serve, host, port)):
        yield proxy

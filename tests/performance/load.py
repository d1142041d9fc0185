"""A load generator in a process of its own: raw HTTP/1.1 over a few connections, each with one request at a time.

It makes its requests beforehand, so that while it measures it only writes bytes, finds the end of the answer
and looks at its status. What it costs is told, since it shares the cores with what it measures.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import resource
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import uvloop

RECONNECT_PAUSE_S = 0.02
TOO_MANY_REQUESTS = 429  # this and what is above may pass
_COUNTED = re.compile(rb'"(stored|duplicate|accepted)":(\d+)')
_TAIL_BYTES = 400


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. `make` gives the bodies, within the generator's process.

    Without `seconds` each body is sent once. With it they are sent until the time is over, over and over if
    `again` says that they may. `requests_per_s` paces them; a request whose turn has come and finds no free
    connection goes out late. A load that is `stubborn` sends a request again when the server went away under
    it, or is not ready for it. `keys` begins the Idempotency-Key of each; `status` is the one that is expected.
    """

    port: int
    path: str
    make: Callable[[], list[bytes]]
    token: str = ""
    media_type: str = "application/cloudevents-batch+json"
    connections: int = 8
    seconds: float | None = None
    again: bool = False
    requests_per_s: float | None = None
    stubborn: bool = False
    keys: str = ""
    status: int = 200


def batch_load(port: int, token: str, make: Callable[[], list[bytes]], **options: Any) -> Load:
    """Usage events, sent to the ingest route."""
    return Load(port=port, path="/v1/usage-events", make=make, token=token, **options)


@dataclass(slots=True)
class Told:
    """What came of it. `counts`: how many events were stored, and so on, by the answers.

    Instants are the monotonic clock's, which all processes of the machine share.
    """

    started_at: float = 0.0
    ended_at: float = 0.0
    cpu_s: float = 0.0
    requests: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    first_reconnected_answer_at: float | None = None
    refused: str = ""

    @property
    def seconds(self) -> float:
        return self.ended_at - self.started_at

    @property
    def stored(self) -> int:
        return self.counts["stored"]

    @property
    def cpu_share(self) -> float:
        """Of one core."""
        return self.cpu_s / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class LoadFailed(Exception):
    """The generator did not get the answers that it came for."""


class Generator:
    """A generator whose requests are made: it waits for the word."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def go(self) -> None:
        self._pipe.send("go")

    def stop(self) -> None:
        """No new requests; those under way are waited for. Harmless when it is done already."""
        with suppress(BrokenPipeError):
            self._pipe.send("stop")

    async def told(self) -> Told:
        """Wait until it is done. Raises: LoadFailed when an answer was not as expected."""
        told: Told = await asyncio.to_thread(self._pipe.recv)
        if told.refused:
            raise LoadFailed(told.refused)
        return told

    async def run(self) -> Told:
        self.go()
        return await self.told()


@asynccontextmanager
async def generator(load: Load) -> AsyncIterator[Generator]:
    """Start it and wait until its requests are made."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, load), daemon=True)
    process.start()
    theirs.close()
    try:
        assert await asyncio.to_thread(ours.recv) == "ready"
        yield Generator(ours)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()


async def send(load: Load) -> Told:
    """Start a generator, let it run to its end."""
    async with generator(load) as ready:
        return await ready.run()


def _child(pipe: Connection, load: Load) -> None:
    head = f"POST {load.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: {load.media_type}\r\n"
    if load.token:
        head += f"authorization: Bearer {load.token}\r\n"
    requests = []
    for number, body in enumerate(load.make()):
        key = f"idempotency-key: {load.keys}-{number}\r\n" if load.keys else ""
        requests.append(f"{head}{key}content-length: {len(body)}\r\n\r\n".encode() + body)
    pipe.send("ready")
    if pipe.recv() != "go":
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(_Run(load, requests, pipe).run())
    os.set_blocking(pipe.fileno(), True)  # the loop that watched it left it without
    pipe.send(told)


class _Run:
    def __init__(self, load: Load, requests: list[bytes], pipe: Connection) -> None:
        self._load, self._pipe = load, pipe
        self._all = requests
        self._waiting = deque(requests)
        self._told = Told()
        self._end_at = float("inf")
        self._is_stopped = False

    async def run(self) -> Told:
        told = self._told
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._on_word)
        before = resource.getrusage(resource.RUSAGE_SELF)
        told.started_at = time.monotonic()
        if self._load.seconds is not None:
            self._end_at = told.started_at + self._load.seconds
        await asyncio.gather(*(self._worker(n) for n in range(self._load.connections)))
        told.ended_at = time.monotonic()
        after = resource.getrusage(resource.RUSAGE_SELF)
        told.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return told

    def _on_word(self) -> None:
        self._pipe.recv()
        self._is_stopped = True

    def _next(self) -> bytes | None:
        if self._is_stopped or self._told.refused or time.monotonic() >= self._end_at:
            return None
        if not self._waiting and self._load.again:
            self._waiting.extend(self._all)
        return self._waiting.popleft() if self._waiting else None

    async def _worker(self, number: int) -> None:
        """One connection. Paced workers take turns: each has its own share of the beat."""
        load, told = self._load, self._told
        pause_s = load.connections / load.requests_per_s if load.requests_per_s else 0.0
        due_at = told.started_at + pause_s * number / load.connections
        connection = await self._connect()
        reconnected = False
        while (request := self._next()) is not None:
            if pause_s:
                await asyncio.sleep(max(0.0, due_at - time.monotonic()))
                due_at += pause_s
            began = time.monotonic()
            while True:
                try:
                    status, tail = await connection.ask(request)
                except ConnectionError:
                    if not load.stubborn:
                        raise
                    connection = await self._connect()
                    reconnected = True
                    continue
                told.statuses[status] += 1
                if status < TOO_MANY_REQUESTS or not load.stubborn:
                    break
                await asyncio.sleep(RECONNECT_PAUSE_S)  # it is not ready yet
            ended = time.monotonic()
            told.requests += 1
            told.latencies_s.append(ended - began)
            if status != load.status:
                told.refused = f"{status}: {tail.decode(errors='replace')}"
                continue
            if reconnected and told.first_reconnected_answer_at is None:
                told.first_reconnected_answer_at = ended
            for name, number in _COUNTED.findall(tail):
                told.counts[name.decode()] += int(number)
        connection.close()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._load.port)
                return connection
            except ConnectionError:
                if not self._load.stubborn or self._is_stopped:
                    raise
                await asyncio.sleep(RECONNECT_PAUSE_S)


class _Connection(asyncio.Protocol):
    """Answers with a content-length, one at a time."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing: int | None = None
        self._status = 0
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._is_lost = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server went away"))

    def close(self) -> None:
        self._transport.close()

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._answer = asyncio.get_running_loop().create_future()
        if self._is_lost:
            self._answer.set_exception(ConnectionResetError("the server went away"))
        else:
            self._transport.write(request)
        return self._answer

    def data_received(self, piece: bytes) -> None:
        self._pieces.append(piece)
        if self._missing is None:
            whole = b"".join(self._pieces)
            end = whole.find(b"\r\n\r\n")
            if end < 0:
                return
            self._status = int(whole[9:12])
            head = whole[:end].lower()
            length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            self._pieces = [whole[end + 4 :]]
            self._missing = length - len(self._pieces[0])
        else:
            self._missing -= len(piece)
        if self._missing == 0:
            tail = b"".join(self._pieces[-2:])[-_TAIL_BYTES:]
            self._pieces, self._missing = [], None
            assert self._answer is not None
            if not self._answer.done():
                self._answer.set_result((self._status, tail))

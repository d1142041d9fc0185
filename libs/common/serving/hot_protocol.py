"""uvicorn's own protocol, that hands plain requests for hot routes to their lane and all others to the app.

A task, an ASGI scope and its messages, and eight layers of middleware cost a single event more than storing it. What
the server promises holds on both ways: one request at a time on a connection, keep-alive, a graceful end, a bound on
how long a body may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from libs.common.web.hot_route import Admitted, Answer, HotLane, HotRoute

Hot = Mapping[bytes, tuple[HotLane, HotRoute]]


class _Nobody:
    """Stands where a cycle has its event: nobody waits for messages here."""

    def set(self) -> None: ...


class _HotCycle:
    """One request in the lane: what the protocol asks of a cycle, and the body so far."""

    __slots__ = (
        "admitted",
        "arrived",
        "disconnected",
        "holds",
        "keep_alive",
        "lane",
        "parts",
        "response_complete",
        "timer",
    )

    message_event = _Nobody()

    def __init__(self, lane: HotLane, admitted: Admitted, *, keep_alive: bool) -> None:
        self.lane, self.admitted, self.keep_alive = lane, admitted, keep_alive
        self.parts: list[bytes] = []
        self.arrived = False
        self.disconnected = self.response_complete = False
        self.timer: asyncio.TimerHandle | None = None
        self.holds = True

    def give_back(self) -> None:
        """The room that its body was given."""
        if self.holds:
            self.holds = False
            self.admitted.route.bodies.give(self.admitted.length)


class HotProtocol(HttpToolsProtocol):
    """`hot` says which paths have a lane."""

    hot: ClassVar[Hot] = {}
    _head: ClassVar[tuple[Any, bytes]] = (None, b"")
    _rests_since: float | None = None  # by the loop's clock; None while a request is on its way

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        hot = self.cycle
        if isinstance(hot, _HotCycle) and not hot.arrived and hot.timer is None:
            timeout_s = hot.admitted.route.body_timeout_s
            hot.timer = self.loop.call_later(timeout_s, self._give_up, hot)

    def on_message_begin(self) -> None:
        """The scope, which only the app wants, is made when it is known that the app is asked."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        known = self.hot.get(self.url)
        admitted = None
        if (
            known is not None
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
        ):
            admitted = known[0].admit(known[1], self.headers)
        if known is None or admitted is None:
            self._make_scope()
            super().on_headers_complete()
            return
        hot = _HotCycle(known[0], admitted, keep_alive=self.parser.should_keep_alive())
        self.cycle = cast("RequestResponseCycle", hot)

    def _make_scope(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, _HotCycle):
            self.cycle.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        hot = self.cycle
        if not isinstance(hot, _HotCycle):
            super().on_message_complete()
        elif not hot.arrived:
            self._serve(hot, hot.parts[0] if len(hot.parts) == 1 else b"".join(hot.parts))

    def _give_up(self, hot: _HotCycle) -> None:
        if not hot.arrived:
            hot.keep_alive = False  # what still comes of the body is no request
            self._serve(hot, None)

    def _serve(self, hot: _HotCycle, body: bytes | None) -> None:
        hot.arrived = True
        if hot.timer is not None:
            hot.timer.cancel()
        if body is not None and hot.lane.begin(hot.admitted, body, partial(self._answered, hot)):
            return
        self._start(self._answer(hot, body))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _answer(self, hot: _HotCycle, body: bytes | None) -> None:
        try:
            answer = await hot.lane.answer(hot.admitted, body)
        except (
            BaseException
        ):  # a mistake of ours, or the end of the process: rather no answer than a silent one
            hot.give_back()
            self.transport.close()
            raise
        await self._write_when_possible(hot, answer)

    def _answered(self, hot: _HotCycle, answer: Answer) -> None:
        if self.flow.write_paused:
            self._start(self._write_when_possible(hot, answer))
        else:
            self._write(hot, answer)

    async def _write_when_possible(self, hot: _HotCycle, answer: Answer) -> None:
        """Who asks on and does not read is not answered on."""
        if self.flow.write_paused and not hot.disconnected:
            await self.flow.drain()
        self._write(hot, answer)

    def _write(self, hot: _HotCycle, answer: Answer) -> None:
        """Head and body in one piece."""
        hot.give_back()
        hot.response_complete = True
        if not hot.disconnected:
            ending = b"\r\n" if hot.keep_alive else b"connection: close\r\n\r\n"
            self.transport.write(
                b"".join((STATUS_LINE[answer.status], self._default_head(), answer.head, ending, answer.body))
            )
            if not hot.keep_alive:
                self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """As the server does, but that one timer watches the connection, and not one for each request on it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._rests_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._watch(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        self._rests_since = None

    def _watch(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._rests_since is None:
            return  # a request is on its way: its end begins the watch again
        left_s = self._rests_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._watch(left_s)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if isinstance(self.cycle, _HotCycle) and not self.cycle.arrived:
            self.cycle.give_back()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def _default_head(self) -> bytes:
        """The server's own headers, the date above all, which it replaces every second."""
        headers = self.server_state.default_headers
        if self._head[0] is not headers:
            lines = b"".join([b"%b: %b\r\n" % header for header in headers])
            type(self)._head = (headers, lines)
        return self._head[1]


def hot_protocol(lanes: Sequence[HotLane]) -> type[HotProtocol]:
    """The protocol with these lanes."""
    hot = {path.encode(): (lane, route) for lane in lanes for path, route in lane.routes.items()}
    return type("HotProtocol", (HotProtocol,), {"hot": hot})

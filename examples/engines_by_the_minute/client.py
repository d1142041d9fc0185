"""The public API as a partner system calls it: safe to repeat, patient with outages, plain about refusals."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from examples.engines_by_the_minute.told import Stopped

JSON = "application/json"
TIMEOUT_S = 60.0
PAUSE_S, PAUSE_MAX_S = 0.1, 1.0
PAGE_LENGTH = 200
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_UNDER_WAY = "idempotency_in_progress"
WRONG_TOKEN = "Put the token that this server's `make run` printed into PERENNIAL_TOKEN."  # noqa: S105

Thing = dict[str, Any]


class Refused(Stopped):
    """The server understood, and said no."""

    def __init__(self, request: str, answer: httpx.Response) -> None:
        problem = _problem_of(answer)
        self.status = answer.status_code
        self.code: str = problem.get("code", "")
        told = problem.get("detail") or problem.get("title") or answer.text[:200]
        places = "".join(f"\n  {e.get('pointer')}: {e.get('detail')}" for e in problem.get("errors", ()))
        trace = f"\n  trace {problem['trace_id']}" if problem.get("trace_id") else ""
        message = f"{request} was answered with {self.status} {self.code}: {told}{places}{trace}"
        remedy = WRONG_TOKEN if self.status == 401 else problem.get("remedy")
        super().__init__(message, remedy=remedy)


class Perennial:
    """`new` counts what was made, by kind: on a second run, nothing.

    Every request may be repeated without harm: those that make something carry a key, events and bindings are
    known by what they are. So an outage is waited out for `patience_s`, and the request sent again.
    """

    def __init__(
        self, base_url: str, token: str, *, patience_s: float, say: Callable[[str], None] = lambda told: None
    ) -> None:
        self.base_url = base_url
        self.new: Counter[str] = Counter()
        self._patience_s, self._say = patience_s, say
        self._outage_told = False  # once for each, however many requests wait
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {token}", "accept": JSON},
            timeout=httpx.Timeout(TIMEOUT_S, connect=5.0),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, **query: str | int) -> Thing:
        """Raises: Refused, Stopped."""
        body: Thing = (await self._send(self._client.build_request("GET", path, params=query))).json()
        return body

    async def download(self, path: str) -> bytes:
        """A file, such as a PDF. Raises: Refused, Stopped."""
        request = self._client.build_request("GET", path, headers={"accept": "*/*"})
        return (await self._send(request)).content

    async def pages(self, path: str, **query: str | int) -> list[Thing]:
        """A whole collection, page after page."""
        found: list[Thing] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=PAGE_LENGTH, **query, **cursor)
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    async def post(
        self, path: str, body: Any, *, key: str | None = None, media_type: str = JSON
    ) -> httpx.Response:
        """Raises: Refused, Stopped."""
        headers = {"content-type": media_type} | ({"idempotency-key": key} if key is not None else {})
        content = json.dumps(body, separators=(",", ":")).encode()
        return await self._send(self._client.build_request("POST", path, content=content, headers=headers))

    async def find_or_make(
        self, kind: str, path: str, body: Any, *, key: str, where: Mapping[str, str], **query: str
    ) -> Thing:
        """The one with these fields among those that the query finds; made if there is none."""
        for thing in await self.pages(path, **query):
            if all(thing[field] == value for field, value in where.items()):
                return thing
        answer = await self.post(path, body, key=key)
        if "idempotent-replayed" not in answer.headers:
            self.new[kind] += 1
        made: Thing = answer.json()
        return made

    async def _send(self, request: httpx.Request) -> httpx.Response:
        told = f"{request.method} {request.url.path}"
        give_up_at = time.monotonic() + self._patience_s
        pause_s = PAUSE_S
        while True:
            try:
                answer = await self._client.send(request)
            except httpx.TransportError as error:
                reason = f"{self.base_url} does not answer ({type(error).__name__})"
            else:
                if answer.is_success:
                    self._outage_told = False
                    return answer
                refusal = Refused(told, answer)
                if refusal.status not in _TRY_AGAIN and refusal.code != _UNDER_WAY:
                    raise refusal
                reason = str(refusal)
            if time.monotonic() >= give_up_at:
                raise Stopped(
                    f"{told}: {reason}",
                    remedy="Start it again with `make run`, then run the demo again: it goes on where it was.",
                )
            if pause_s >= PAUSE_MAX_S and not self._outage_told:
                self._outage_told = True
                self._say(f"  {reason.splitlines()[0]}; waiting for it, {self._patience_s:g} s at most")
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_MAX_S, pause_s * 2)


def _problem_of(answer: httpx.Response) -> Thing:
    try:
        problem = answer.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}

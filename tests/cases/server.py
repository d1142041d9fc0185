"""The one process that cases and lives talk to: started for the first of them, shared by all that follow."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any
from uuid import uuid4

import httpx

from deploy.local.child import ChildFailed
from tests.support.one_process import OneProcess, one_process

Thing = dict[str, Any]
Query = str | list[str]

PRODUCT = "thing"
LOOK_EVERY_S = 0.2
HEARD_WITHIN_S = 60.0
NOT_HEARD_YET = frozenset({"customer_not_found", "plan_not_found", "catalog_meter_unknown"})
ARRIVES_WITHIN_S = 300.0  # it takes a few seconds on a machine of its own


class Refused(Exception):
    """The product said no, which no case expects."""


class Perennial:
    """The public API under the sandbox tenant's token; what is not a success is raised, with all that was said."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **query: Query) -> Thing:
        body: Thing = self._told(self._client.get(path, params=query)).json()
        return body

    def pages(self, path: str, **query: Query) -> list[Thing]:
        found: list[Thing] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit="200", **query, **cursor)
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def post(self, path: str, body: Any) -> Thing:
        """A service that has not heard yet of what another made a moment ago is asked again, for a while."""
        give_up_at = time.monotonic() + HEARD_WITHIN_S
        while True:
            headers = {"idempotency-key": uuid4().hex}
            answer = self._client.post(path, json=body, headers=headers)
            is_news = not answer.is_success and answer.json().get("code") in NOT_HEARD_YET
            if not is_news or time.monotonic() > give_up_at:
                made: Thing = self._told(answer).json()
                return made

    def put(self, path: str, body: Any) -> Thing:
        """What was not there before."""
        answer = self._client.put(path, json=body, headers={"idempotency-key": uuid4().hex, "if-match": "*"})
        made: Thing = self._told(answer).json()
        return made

    def move_clock(self, clock_id: str, to: str) -> None:
        """Forward, until everything that is due on the way has been done."""
        path = f"/v1/test-clocks/{clock_id}/moves"
        move = self.post(path, {"to": to})
        give_up_at = time.monotonic() + ARRIVES_WITHIN_S
        while move["state"] != "arrived":
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the clock stands at {move['clock_now']}: {move['waiting_for']}")
            time.sleep(LOOK_EVERY_S)
            move = self.get(f"{path}/{move['id']}")

    @staticmethod
    def _told(answer: httpx.Response) -> httpx.Response:
        if not answer.is_success:
            request = answer.request
            sent = request.content.decode()
            raise Refused(f"{request.method} {request.url.path} {sent}: {answer.status_code} {answer.text}")
        return answer


class SharedServer:
    """Started when it is first asked for. `close` ends it, and what it kept is gone."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._starting = Lock()  # cases run side by side
        self._perennial: Perennial | None = None
        self._process: OneProcess | None = None
        self._failed: ChildFailed | None = None

    def process(self) -> OneProcess:
        self.perennial()
        assert self._process is not None, "it was started just now"
        return self._process

    def perennial(self) -> Perennial:
        """Raises: ChildFailed, for every case alike: what did not start is not started again."""
        with self._starting:
            if self._failed is not None:
                raise self._failed
            try:
                return self._perennial or self._start()
            except ChildFailed as failed:
                self._failed = failed
                raise

    def _start(self) -> Perennial:
        log = Path(self._stack.enter_context(TemporaryDirectory())) / "log"
        process = self._stack.enter_context(one_process(log))
        process.start()
        self._process = process
        perennial = Perennial(self._stack.enter_context(process.client()))
        perennial.post(
            "/v1/sellers", {"code": "cases", "name": "Cases", "country": "NL", "number_prefix": "C-"}
        )
        perennial.post("/v1/products", {"code": PRODUCT, "name": "What cases sell", "kind": "service"})
        self._perennial = perennial
        return perennial

    def close(self) -> None:
        self._perennial = self._process = None
        self._stack.close()


SERVER = SharedServer()

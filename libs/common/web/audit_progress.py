"""An audit of minutes tells how far it is while it looks: a line of JSON for each step, the report last."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from pydantic import BaseModel

from libs.common.errors import ServiceError
from libs.common.persistence.audit import watched_by

PROGRESS_TYPE = "application/x-ndjson"
SAID_EVERY_S = 0.2
STEPS_WAITING_MAX = 100


async def audit_told(audited: Callable[[], Awaitable[BaseModel]]) -> AsyncIterator[bytes]:
    """`{"check": …, "done": …, "of": …}` for each step, then `{"report": …}`, or `{"error": …}` where it failed.

    Steps that follow each other at once are told by the last of them. When nobody listens any more, it stops.
    """
    steps: asyncio.Queue[bytes] = asyncio.Queue(STEPS_WAITING_MAX)
    said_at, said = 0.0, ""

    def tell(check: str, done: int, of: int | None) -> None:
        nonlocal said_at, said
        now = time.monotonic()
        if (check == said and now - said_at < SAID_EVERY_S) or steps.full():
            return
        said_at, said = now, check
        steps.put_nowait(json.dumps({"check": check, "done": done, "of": of}).encode() + b"\n")

    async def work() -> BaseModel:
        with watched_by(tell):
            return await audited()

    task = asyncio.create_task(work())
    try:
        while not task.done():
            next_step = asyncio.create_task(steps.get())
            await asyncio.wait({task, next_step}, return_when=asyncio.FIRST_COMPLETED)
            if next_step.done():
                yield next_step.result()
            else:
                next_step.cancel()
        while not steps.empty():
            yield steps.get_nowait()
        yield b'{"report":' + (await task).model_dump_json().encode() + b"}\n"
    except ServiceError as error:
        yield json.dumps({"error": str(error)}).encode() + b"\n"
    finally:
        task.cancel()

"""`perennial replay`: a service hears again what it has handled, and the screen shows how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from libs.cli.deployment import Deployment
from libs.common.contracts import SERVICES, topic_of

LOOK_EVERY_S = 1.0

Replay = Mapping[str, Any]


def topic_named(given: str | None) -> str | None:
    """A topic may be named by the service that publishes it."""
    return topic_of(given) if given in SERVICES else given


def ask(
    deployment: Deployment,
    service: str,
    *,
    topic: str | None,
    partition: int | None,
    from_offset: int | None,
    since: datetime | None,
) -> Replay:
    """Raises: Refused, Unreachable."""
    body = {
        "topic": topic_named(topic),
        "partition": partition,
        "from_offset": from_offset,
        "since": None if since is None else since.isoformat(),
    }
    replay: Replay = deployment.post(f"/v1/{service}-operations/replays", body)
    return replay


def until_done(
    deployment: Deployment, service: str, replay: Replay, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Replay]:
    """The replay as it stands, again and again; done at last."""
    while True:
        yield replay
        if replay["status"] == "done":
            return
        sleep(LOOK_EVERY_S)
        replay = deployment.get(f"/v1/{service}-operations/replays/{replay['id']}")


def told(service: str, replay: Replay) -> list[str]:
    """What is going to happen, in words."""
    open_ones = [part for part in replay["partitions"] if part["status"] != "done"]
    if not open_ones:
        return [f"{service} has handled nothing of that: there is nothing to hear again."]
    count = replay["messages_left"]
    lines = [
        f"{service} hears {count:,} messages of {len(open_ones)} partitions again ({replay['id']}).",
        "What was handled has no effect a second time; what is new waits its turn behind it.",
    ]
    lines += [
        f"{part['topic']}/{part['partition']}: begins at offset {part['from_offset']:,}, the earliest still kept"
        for part in open_ones
        if part["starts_at_earliest_kept"]
    ]
    return lines


def progress(replay: Replay) -> str:
    if replay["status"] == "done":
        return "done: it stands again where it stood"
    waiting = replay["status"] == "waiting"
    return f"{replay['messages_left']:,} left" + (", waiting for a worker to begin" if waiting else "")

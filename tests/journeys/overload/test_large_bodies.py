"""Many senders of the largest bodies: memory stays bounded, who is refused is told when to come again, and what is
acknowledged is there.
"""

from __future__ import annotations

import gzip
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
import zstandard

from tests.journeys.kills.story import Record
from tests.support.one_process import OneProcess, one_process

SENDERS = 16
RESIDENT_MB_MAX = 1_200
GROWN_MB_MAX = 600  # what stays with the process when all is stored
STORED_WITHIN_S = 900.0
LOOK_EVERY_S = 0.02
BODY_BYTES_MAX = 10_000_000
AT = "2025-01-10T10:00:00Z"
EVENTS, LONG_EVENTS = 10_000, 38
GIVES_UP = 5  # each so many-th sender does not come again once it was refused


@dataclass(frozen=True, slots=True)
class Body:
    content: bytes
    headers: Mapping[str, str]
    events: int


@dataclass
class Seen:
    """`refused` are senders who gave up: nothing of theirs may be there."""

    answers: Counter[str] = field(default_factory=Counter)
    stored: dict[int, int] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)


def events_of(sender: int, count: int, data: str) -> list[str]:
    shared = (
        f'"specversion":"1.0","source":"urn:large","type":"large","subject":"sender-{sender}","time":"{AT}"'
    )
    return [f'{{"id":"{sender}-{place}",{shared},"data":{data}}}' for place in range(count)]


def array_of(sender: int, count: int, data: str) -> bytes:
    content = f"[{','.join(events_of(sender, count, data))}]".encode()
    assert 0.9 * BODY_BYTES_MAX < len(content) <= BODY_BYTES_MAX
    return content


JSON = {"content-type": "application/json"}
# Letters that cannot be packed, and one that can.
NOISE = "".join(random.Random(0).choices("abcdefghijklmnop", k=830))
TEXT, NOISY = f'{{"note":"{"x" * 830}"}}', f'{{"note":"{NOISE}"}}'
LISTS = f"[{','.join(['[]'] * 85_000)}]"  # twenty times as much in memory
DECIMALS = f"[{','.join(['0.1'] * 64_000)}]"


def plain(sender: int) -> Body:
    return Body(array_of(sender, EVENTS, NOISY), JSON, EVENTS)


def packed(sender: int) -> Body:
    content = gzip.compress(array_of(sender, EVENTS, TEXT), compresslevel=1)
    return Body(content, JSON | {"content-encoding": "gzip"}, EVENTS)


def packed_with_zstd(sender: int) -> Body:
    content = zstandard.ZstdCompressor().compress(array_of(sender, EVENTS, TEXT))
    return Body(content, JSON | {"content-encoding": "zstd"}, EVENTS)


def lines(sender: int) -> Body:
    content = "\n".join(events_of(sender, EVENTS, TEXT)).encode()
    return Body(content, {"content-type": "application/x-ndjson"}, EVENTS)


def lists(sender: int) -> Body:
    return Body(array_of(sender, LONG_EVENTS, LISTS), JSON, LONG_EVENTS)


def decimals(sender: int) -> Body:
    return Body(array_of(sender, LONG_EVENTS, DECIMALS), JSON, LONG_EVENTS)


def bomb(sender: int) -> Body:
    """A hundred times as long as it may be, in a thousandth of that."""
    content = gzip.compress(b" " * (100 * BODY_BYTES_MAX), compresslevel=1)
    return Body(content, JSON | {"content-encoding": "gzip"}, 0)


KINDS: tuple[Callable[[int], Body], ...] = (
    plain,
    packed,
    bomb,
    lists,
    packed_with_zstd,
    decimals,
    lines,
    lists,
)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[OneProcess]:
    with one_process(tmp_path / "log") as process:
        process.start()
        yield process


def resident_mb(process: OneProcess) -> int:
    return round(psutil.Process(process.pid).memory_info().rss / 1e6)


@contextmanager
def watching(process: OneProcess) -> Iterator[list[int]]:
    """What is resident while the block runs."""
    seen: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_EVERY_S):
            seen.append(resident_mb(process))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def send(process: OneProcess, sender: int, seen: Seen) -> None:
    body = KINDS[sender % len(KINDS)](sender)
    give_up_at = time.monotonic() + STORED_WITHIN_S
    with process.client() as client:
        client.timeout = httpx.Timeout(STORED_WITHIN_S)
        while time.monotonic() < give_up_at:
            answer = client.post("/v1/usage-events", content=body.content, headers=body.headers)
            told = answer.json()
            seen.answers[f"{answer.status_code} {told.get('code', '')}".strip()] += 1
            if answer.status_code == 200:
                assert told["stored"] == body.events, {k: v for k, v in told.items() if k != "results"}
                seen.stored[sender] = body.events
                return
            if answer.status_code == 413:
                assert not body.events, told
                return
            assert answer.status_code in (429, 503), answer.text
            wait_s = int(answer.headers["retry-after"])
            assert 1 <= wait_s <= 60
            if sender % GIVES_UP == 0:
                seen.refused.add(sender)
                return
            time.sleep(wait_s)
    raise AssertionError(f"sender {sender} was never let in")


def counted(process: OneProcess, sender: int) -> int:
    query = {"meter": "large", "subject": f"sender-{sender}", "from": "2025-01-01T00:00:00Z"}
    with process.client() as client:
        answer = client.get("/v1/usage", params=query | {"to": "2025-02-01T00:00:00Z"})
        assert answer.status_code == 200, answer.text
        return sum(row["event_count"] for row in answer.json()["data"])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_largest_bodies_of_many_senders_fit_into_bounded_memory(
    process: OneProcess, record_property: Record
) -> None:
    with process.client() as client:
        meter = {"code": "large", "event_type": "large", "aggregation": "count"}
        made = client.post("/v1/meters", json=meter, headers={"idempotency-key": "large"})
        assert made.status_code == 201, made.text
    before, seen = resident_mb(process), Seen()
    with watching(process) as resident, ThreadPoolExecutor(SENDERS) as senders:
        for sent in [senders.submit(send, process, sender, seen) for sender in range(SENDERS)]:
            sent.result()
    after = resident_mb(process)
    told = ", ".join(f"{count} {status}" for status, count in sorted(seen.answers.items()))
    record_property(
        "figures", f"resident {before} MB, at most {max(resident)} MB, then {after} MB; told: {told}"
    )
    assert {sender: counted(process, sender) for sender in seen.stored} == seen.stored
    assert {counted(process, sender) for sender in seen.refused} <= {0}
    assert seen.answers["503 ingest_busy"], "nobody was ever refused: that shows nothing"
    assert max(resident) < RESIDENT_MB_MAX
    assert after < before + GROWN_MB_MAX

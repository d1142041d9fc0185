"""Who sends usage while everything breaks: requests are repeated until they are answered, and answers kept."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx

Thing = dict[str, Any]
Fate = Literal["counted", "rejected", "voided"]

EVENT_TYPE = "faults.read"
SENT_FROM = datetime(2025, 1, 1, tzinfo=UTC)
SENT_FOR = timedelta(days=59)  # two billing periods
TOO_MANY_REQUESTS = 429  # this and what is above may pass
ANSWERED_WITHIN_S = 90.0
PAUSE_S = 0.05
BATCH_EVENTS_MAX = 25
BETWEEN_REQUESTS_S = (0.05, 0.25)
VOIDS = 5
VOIDING = 0.05  # how often a request is followed by voids


class Unanswered(Exception):
    """Nobody took a request for a long time, or somebody refused it."""


@dataclass(slots=True)
class Sent:
    """An event of which the sender knows that it was taken in."""

    id: str
    subject: str
    at: datetime
    kwh: int
    fate: Fate


@dataclass(slots=True)
class Book:
    """All that one sender was told. `conflicts` are (id, kwh) of what came under another event's id."""

    sent: dict[str, Sent] = field(default_factory=dict)
    conflicts: set[tuple[str, int]] = field(default_factory=set)
    batches: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    repeats: int = 0


def client_of(base_url: str, token: str) -> httpx.Client:
    """Gives up on a server that stands still, and asks again: what is sent twice is counted once."""
    headers = {"authorization": f"Bearer {token}"}
    return httpx.Client(base_url=base_url, headers=headers, timeout=15, trust_env=False)


def stubborn(client: httpx.Client, path: str, body: Any, **headers: str) -> tuple[httpx.Response, int]:
    """The same request until it is answered; the answer, and how many times it was not. Raises: Unanswered."""
    content = json.dumps(body).encode()
    headers = {"content-type": "application/json", **headers}
    give_up_at = time.monotonic() + ANSWERED_WITHIN_S
    told = ""
    for count in range(10**6):
        try:
            answer = client.post(path, content=content, headers=headers)
            told = f"{answer.status_code} {answer.text[:2000]}"
            in_progress = answer.status_code == 409 and answer.json().get("code") == "idempotency_in_progress"
            if answer.status_code < TOO_MANY_REQUESTS and not in_progress:
                if not answer.is_success:
                    raise Unanswered(f"{path}: {told}")
                return answer, count
        except httpx.TransportError as error:
            told = repr(error)
        if time.monotonic() > give_up_at:
            break
        time.sleep(PAUSE_S)
    raise Unanswered(f"{path}: {told}")


class Sender:
    """One thread that sends to one address. Through the topic it is told `accepted`, and later what became of it."""

    def __init__(
        self,
        name: str,
        base_url: str,
        token: str,
        *,
        source: str,
        subjects: Sequence[str],
        seed: int,
        through_topic: bool,
    ) -> None:
        self.name, self.book = name, Book()
        self._client = client_of(base_url, token)
        self._source, self._subjects, self._through_topic = source, subjects, through_topic
        self._chance = random.Random(seed)
        self._bodies: list[list[Thing]] = []
        self._number = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What was begun is sent until it is answered. Raises: Unanswered."""
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def repeat(self, count: int) -> None:
        """Requests of old, once more: all that is in them is known by now."""
        for body in self._chance.sample(self._bodies, min(count, len(self._bodies))):
            self._send(body)

    def void_some(self) -> None:
        """A void of what is not stored yet finds nothing: it is asked for until it is."""
        counted = [sent for sent in self.book.sent.values() if sent.fate == "counted"]
        mine = self._chance.sample(counted, min(VOIDS, len(counted)))
        voids = [
            {"source": self._source, "id": sent.id, "reason": "The counter was read twice."} for sent in mine
        ]
        give_up_at = time.monotonic() + ANSWERED_WITHIN_S
        while voids:
            answer, _ = stubborn(self._client, "/v1/usage-events/voids", {"voids": voids})
            results = answer.json()["results"]
            told = {result["status"] for result in results}
            if told <= {"voided", "unchanged"}:  # unchanged: by a request whose answer was lost
                break
            if not told <= {"voided", "unchanged", "not_found"} or time.monotonic() > give_up_at:
                raise Unanswered(f"voids: {results}")
            time.sleep(PAUSE_S)
        for sent in mine:
            sent.fate = "voided"
        self.book.statuses["voided"] += len(mine)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._send(self._make())
                time.sleep(self._chance.uniform(*BETWEEN_REQUESTS_S))
                if self._chance.random() < VOIDING:
                    self.void_some()
        except BaseException as error:
            self._error = error

    # What it sends

    def _make(self) -> list[Thing]:
        """Mostly news, some of it twice or unreadable; some that is known already, or contradicts what is known."""
        chance = self._chance
        body = [self._new() for _ in range(chance.randint(1, BATCH_EVENTS_MAX))]
        known = list(self.book.sent.values())[-400:]
        if known:
            body += [self._event(sent) for sent in chance.choices(known, k=chance.randint(0, 4))]
            stored = [sent for sent in known if sent.fate != "rejected"]
            body += [
                self._event(sent, kwh=sent.kwh + 1_000)
                for sent in chance.choices(stored, k=chance.randint(0, 2) if stored else 0)
            ]
        chance.shuffle(body)
        if chance.random() < 0.3:
            body.append(body[0])
        return body

    def _new(self) -> Thing:
        self._number += 1
        at = SENT_FROM + timedelta(seconds=self._chance.randrange(int(SENT_FOR.total_seconds())))
        is_read = self._chance.random() < 0.93
        sent = Sent(
            f"{self.name}-{self._number}",
            self._chance.choice(self._subjects),
            at,
            self._chance.randint(1, 50),
            "counted" if is_read else "rejected",
        )
        return self._event(sent)

    def _event(self, sent: Sent, *, kwh: int | None = None) -> Thing:
        value = {"kwh": sent.kwh if kwh is None else kwh}
        return {
            "specversion": "1.0",
            "id": sent.id,
            "source": self._source,
            "type": EVENT_TYPE,
            "subject": sent.subject,
            "time": sent.at.isoformat(),
            "data": {} if sent.fate == "rejected" else value,
        }

    # What it is told

    def _send(self, body: list[Thing]) -> None:
        answer, repeats = stubborn(self._client, "/v1/usage-events", body)
        told = answer.json()
        self.book.repeats += repeats
        self._bodies.append(body)
        if self._through_topic:
            self.book.batches.append(told["batch_id"])
        for event, result in zip(body, told["results"], strict=True):
            assert result["id"] == event["id"]
            self._note(event, result["status"])

    def _note(self, event: Thing, status: str) -> None:
        """Raises: AssertionError, when the answer cannot be true."""
        book, kwh = self.book, event["data"].get("kwh")
        book.statuses[status] += 1
        known = book.sent.get(event["id"])
        fate: Fate = "counted" if kwh is not None else "rejected"
        possible = {"stored", "duplicate"}
        if known is not None and kwh is not None and kwh != known.kwh:
            possible = {"conflict"}
            book.conflicts.add((event["id"], kwh))
        elif fate == "rejected":
            possible = {"rejected"}
        elif known is not None:
            possible = {"duplicate"}
        assert status in possible or (self._through_topic and status == "accepted"), (event, status, known)
        if known is None:
            at = datetime.fromisoformat(event["time"])
            book.sent[event["id"]] = Sent(event["id"], event["subject"], at, kwh or 0, fate)


@contextmanager
def sending(senders: Sequence[Sender]) -> Iterator[None]:
    """They send while the block runs. Raises: Unanswered."""
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.stop()


@dataclass(frozen=True, slots=True)
class Known:
    """What all senders together know, and what follows from it: the sums, in plain Python."""

    sent: Sequence[Sent]
    conflicts: frozenset[tuple[str, int]]

    def of(self, *fates: Fate) -> list[Sent]:
        return [sent for sent in self.sent if sent.fate in fates]

    def by_subject(self) -> Mapping[str, tuple[int, int, int]]:
        """The sum, the count and the greatest."""
        found: dict[str, list[int]] = defaultdict(list)
        for sent in self.of("counted"):
            found[sent.subject].append(sent.kwh)
        return {subject: (sum(kwh), len(kwh), max(kwh)) for subject, kwh in found.items()}

    def between(self, start: datetime, end: datetime) -> tuple[int, int]:
        """The sum and the count."""
        kwh = [sent.kwh for sent in self.of("counted") if start <= sent.at < end]
        return sum(kwh), len(kwh)


def known_to(senders: Iterable[Sender]) -> Known:
    books = [sender.book for sender in senders]
    return Known(
        [sent for book in books for sent in book.sent.values()],
        frozenset(conflict for book in books for conflict in book.conflicts),
    )

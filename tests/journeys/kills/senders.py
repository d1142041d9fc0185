"""Who sends usage while everything breaks: requests are repeated until they are answered, and answers kept."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx

Thing = dict[str, Any]
Fate = Literal["counted", "rejected", "voided"]

EVENT_TYPE = "faults.read"
SENT_FROM = datetime(2025, 1, 1, tzinfo=UTC)
SENT_FOR = timedelta(days=59)  # two billing periods
TOO_MANY_REQUESTS = 429  # this and what is above may pass
ANSWERED_WITHIN_S = 180.0
PAUSE_S = 0.05
BATCH_EVENTS_MAX = 25
BETWEEN_REQUESTS_S = (0.05, 0.25)
CORRECTED = 5  # events, at most, in one request that puts right what was sent
CORRECTING = 0.1  # how often a request is followed by such a one


class Unanswered(Exception):
    """Nobody took a request for a long time, or somebody refused it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What an event says."""

    subject: str
    at: datetime
    kwh: int


@dataclass(slots=True)
class Sent:
    """An event of which the sender knows that it was taken in.

    `first` is what was stored under its id, or what was rejected, which has no kWh; `now` is what it has become.
    """

    id: str
    first: Fact
    now: Fact
    fate: Fate
    was_rejected: bool = False
    amendments: int = 0


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
    return _until_answered(lambda: client.post(path, content=content, headers=headers), path)


def stubborn_list(client: httpx.Client, path: str, **query: str) -> list[Thing]:
    """A whole collection, however often a page has to be asked for. Raises: Unanswered."""
    found: list[Thing] = []
    cursor: dict[str, str] = {}
    while True:
        asked = {"limit": "200", **query, **cursor}
        answer, _ = _until_answered(lambda asked=asked: client.get(path, params=asked), path)  # type: ignore[misc]
        page = answer.json()
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def _until_answered(ask: Callable[[], httpx.Response], path: str) -> tuple[httpx.Response, int]:
    give_up_at = time.monotonic() + ANSWERED_WITHIN_S
    told = ""
    for count in range(10**6):
        try:
            answer = ask()
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

    @property
    def ways_to_correct(self) -> Sequence[Callable[[], None]]:
        """In which what was sent is put right: some of it, each time."""
        return self._void_some, self._amend_some, self._put_some_right

    def _void_some(self) -> None:
        mine = self._some("counted")
        told = {"reason": "The counter was read twice."}
        self._correct("voids", "voided", [{"source": self._source, "id": sent.id, **told} for sent in mine])
        for sent in mine:
            sent.fate = "voided"

    def _amend_some(self) -> None:
        """What was voided counts again."""
        mine = [(sent, self._amended(sent.now)) for sent in self._some("counted", "voided")]
        told = {"reason": "Read from the panel."}
        entries = [{"event": self._event(sent.id, fact), **told} for sent, fact in mine]
        self._correct("amendments", "amended", entries)
        for sent, fact in mine:
            sent.now, sent.fate = fact, "counted"
            sent.amendments += 1

    def _amended(self, fact: Fact) -> Fact:
        """Another reading, and sometimes of another meter or time."""
        chance = self._chance
        return Fact(
            chance.choice(self._subjects) if chance.random() < 0.3 else fact.subject,
            self._some_time() if chance.random() < 0.3 else fact.at,
            fact.kwh + chance.randint(1, 50),
        )

    def _put_some_right(self) -> None:
        """Rejects that are listed are sent again as they should have been, some of them as any other event before."""
        listed = stubborn_list(self._client, "/v1/usage-rejects", source=self._source, state="open")
        reject_ids = {reject["event_id"]: reject["id"] for reject in listed}
        for sent in [sent for sent in self._some("rejected") if sent.id in reject_ids]:
            event = self._event(sent.id, replace(sent.first, kwh=self._chance.randint(1, 50)))
            possible = {"stored"}
            if self._chance.random() < 0.3:
                self._send([event])
                possible = {"stored", "duplicate"} if self._through_topic else {"duplicate"}
            path, key = f"/v1/usage-rejects/{reject_ids[sent.id]}/resubmission", f"{self.name}-{sent.id}"
            answer, repeats = stubborn(self._client, path, {"event": event}, **{"idempotency-key": key})
            self.book.repeats += repeats
            status = answer.json()["result"]["status"]
            assert status in possible, (event, answer.text)
            if sent.fate == "rejected":
                self._note(event, status)
            sent.was_rejected = True
            self.book.statuses["put right"] += 1

    def _some(self, *fates: Fate) -> list[Sent]:
        found = [sent for sent in self.book.sent.values() if sent.fate in fates]
        return self._chance.sample(found, min(CORRECTED, len(found)))

    def _correct(self, kind: str, status: str, entries: Sequence[Thing]) -> None:
        """What is not stored yet is not found: it is asked for until it is."""
        give_up_at = time.monotonic() + ANSWERED_WITHIN_S
        while entries:
            answer, repeats = stubborn(self._client, f"/v1/usage-events/{kind}", {kind: entries})
            self.book.repeats += repeats
            results = answer.json()["results"]
            told = {result["status"] for result in results}
            if told <= {status, "unchanged"}:  # unchanged: by a request whose answer was lost
                break
            if not told <= {status, "unchanged", "not_found"} or time.monotonic() > give_up_at:
                raise Unanswered(f"{kind}: {results}")
            time.sleep(PAUSE_S)
        self.book.statuses[status] += len(entries)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._send(self._make())
                time.sleep(self._chance.uniform(*BETWEEN_REQUESTS_S))
                if self._chance.random() < CORRECTING:
                    self._chance.choice(self.ways_to_correct)()
        except BaseException as error:
            self._error = error

    # What it sends

    def _make(self) -> list[Thing]:
        """Mostly news, some of it twice or unreadable; some that is known already, or contradicts what is known."""
        chance = self._chance
        body = [self._new() for _ in range(chance.randint(1, BATCH_EVENTS_MAX))]
        known = list(self.book.sent.values())[-400:]
        if known:
            body += [
                self._event(sent.id, sent.first) for sent in chance.choices(known, k=chance.randint(0, 4))
            ]
            stored = [sent for sent in known if sent.fate != "rejected"]
            body += [
                self._event(sent.id, replace(sent.first, kwh=sent.first.kwh + 1_000))
                for sent in chance.choices(stored, k=chance.randint(0, 2) if stored else 0)
            ]
        chance.shuffle(body)
        if chance.random() < 0.3:
            body.append(body[0])
        return body

    def _new(self) -> Thing:
        self._number += 1
        is_read = self._chance.random() < 0.93
        kwh = self._chance.randint(1, 50) if is_read else 0
        return self._event(
            f"{self.name}-{self._number}", Fact(self._chance.choice(self._subjects), self._some_time(), kwh)
        )

    def _some_time(self) -> datetime:
        return SENT_FROM + timedelta(seconds=self._chance.randrange(int(SENT_FOR.total_seconds())))

    def _event(self, id: str, fact: Fact) -> Thing:
        """Without kWh, no meter can read it."""
        return {
            "specversion": "1.0",
            "id": id,
            "source": self._source,
            "type": EVENT_TYPE,
            "subject": fact.subject,
            "time": fact.at.isoformat(),
            "data": {"kwh": fact.kwh} if fact.kwh else {},
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
        book, fact = self.book, _fact_of(event)
        book.statuses[status] += 1
        known = book.sent.get(event["id"])
        possible = {"stored", "duplicate"}
        if not fact.kwh:
            possible = {"rejected"}
        elif known is not None and known.fate != "rejected":
            possible = {"duplicate"}
            if fact.kwh != known.first.kwh:
                possible = {"conflict"}
                book.conflicts.add((event["id"], fact.kwh))
        assert status in possible or (self._through_topic and status == "accepted"), (event, status, known)
        if known is None:
            book.sent[event["id"]] = Sent(event["id"], fact, fact, "counted" if fact.kwh else "rejected")
        elif known.fate == "rejected" and fact.kwh:
            known.first = known.now = fact
            known.fate = "counted"


def _fact_of(event: Thing) -> Fact:
    return Fact(event["subject"], datetime.fromisoformat(event["time"]), event["data"].get("kwh", 0))


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
            found[sent.now.subject].append(sent.now.kwh)
        return {subject: (sum(kwh), len(kwh), max(kwh)) for subject, kwh in found.items()}

    def between(self, start: datetime, end: datetime) -> tuple[int, int]:
        """The sum and the count."""
        kwh = [sent.now.kwh for sent in self.of("counted") if start <= sent.now.at < end]
        return sum(kwh), len(kwh)


def known_to(senders: Iterable[Sender]) -> Known:
    books = [sender.book for sender in senders]
    return Known(
        [sent for book in books for sent in book.sent.values()],
        frozenset(conflict for book in books for conflict in book.conflicts),
    )

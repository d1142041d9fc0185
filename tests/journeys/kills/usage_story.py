"""Two months of usage are sent and billed while faults strike; then what was told, kept and charged is compared.

A round is one customer on a clock of its own. Its seed decides what is sent, which faults strike, and when.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import httpx

from libs.cli.audit import findings_of
from libs.common.contracts import SERVICES
from libs.common.contracts.metering import UsageCorrectedV1, UsageThresholdReachedV1, UsageWindowClosedV1
from libs.common.persistence.session import asyncpg_dsn
from libs.common.serving.addresses import database_name
from tests.journeys.kills.agreement import (
    ARRIVES_WITHIN_S,
    FEE,
    LOOK_EVERY_S,
    METER,
    METERS,
    UNIT,
    Agreement,
    agree,
    prepare,
)
from tests.journeys.kills.senders import Known, Sender, client_of, known_to, sending, stubborn
from tests.journeys.kills.story import Blow, Struck
from tests.support.demo import Deployment, audit, everything

Thing = dict[str, Any]

SEED = "PERENNIAL_FAULT_SEED"
FAULTS_OF_A_ROUND = 2
BEFORE_A_BLOW_S = (0.1, 0.6)
AT_REST_WITHIN_S = 60.0
SUBJECTS = 4
BATCHES = 10  # of each sender, whose results are looked at
STARTS_AT = datetime(2025, 1, 1, tzinfo=UTC)
# The first while usage is sent, so that its window closes under it and what is late corrects it. A clock arrives when all
# that was late is told: hence after the last of it.
WHILE_SENDING = datetime(2025, 2, 1, 2, tzinfo=UTC)
UNDER_WAY = (datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC))  # from then on
AFTERWARDS = tuple(datetime(2025, month, 1, 2, tzinfo=UTC) for month in (3, 4))
FEES = 4
MARKS = (1, 100, 400, 10**9)  # of an alert; nobody ever comes to the last
_UNREST = {
    "no event waits": (SERVICES, "SELECT count(*) FROM outbox WHERE published_at IS NULL"),
    "no message has failed": (SERVICES, "SELECT count(*) FROM message_failure"),
    "no clock is under way": (("subscriptions",), "SELECT count(*) FROM clock_move WHERE state = 'moving'"),
    "no payment is claimed": (
        ("billing",),
        "SELECT count(*) FROM payment_attempt WHERE state <> 'succeeded' AND state <> 'failed'",
    ),
    "no correction waits": (("metering",), "SELECT count(*) FROM late_usage"),
}
_SAID = """
    SELECT type, data FROM outbox
    WHERE type = ANY($1::text[]) AND convert_from(data, 'UTF8')::jsonb ->> 'subscription_id' = $2 ORDER BY position
"""


@dataclass(frozen=True, slots=True)
class Way:
    """An address that takes usage events, and whether it sends them through the usage topic."""

    base_url: Callable[[], str]
    through_topic: bool


@dataclass(frozen=True, slots=True)
class Ground:
    """A deployment with what can befall it. `dsn` leads an administrator to a database of that name."""

    deployment: Deployment
    dsn: Callable[[str], str]
    ways: Sequence[Way]
    faults: Sequence[Blow]
    # Held while usage is sent.
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext
    # What was published to the usage topic comes once more, if there is one.
    deliver_again: Callable[[], None] = lambda: None


@dataclass
class Told:
    """What came of some rounds."""

    seeds: list[int] = field(default_factory=list)
    struck: list[Struck] = field(default_factory=list)
    events: int = 0
    repeats: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    corrections: int = 0

    def __str__(self) -> str:
        lines = [f"  {one.name:55} over after {one.accepting_after_s:.1f} s" for one in self.struck]
        told = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        counted = f"{self.events} events counted once; told: {told}; requests sent again: {self.repeats}"
        return "\n".join([f"seeds {self.seeds}", *lines, f"{counted}; {self.corrections} corrections"])


def seeds_of(count: int, *, first: int) -> Sequence[int]:
    """The one that the environment names, or so many in a row."""
    asked = os.environ.get(SEED)
    return [int(asked)] if asked else range(first, first + count)


def play(ground: Ground, seeds: Sequence[int], *, audit_each: bool = False) -> Told:
    """One round after the other; one that fails tells its seed. In the end an operator runs `perennial audit`.

    With `audit_each` the same is asked for after each round, without starting the command.
    """
    told = Told()
    prepare(ground.deployment)
    for seed in seeds:
        print(f"{SEED}={seed}")
        try:
            of_seed = Round(ground, seed, told)
            of_seed.play()
            if audit_each:
                of_seed.check_audit()
        except BaseException as error:
            error.add_note(f"{SEED}={seed} plays this round again; so far: {told}")
            raise
        told.seeds.append(seed)
    report = audit(ground.deployment)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]
    assert all(told.statuses[way] for way in ("voided", "amended", "put right")), told
    return told


def faults_of(seed: int, table: Sequence[Blow]) -> list[Blow]:
    """Dealt out round by round, so that many rounds meet each one as often; each deal is in an order of its own."""
    found: list[Blow] = []
    for place in range(seed * FAULTS_OF_A_ROUND, (seed + 1) * FAULTS_OF_A_ROUND):
        deal, number = divmod(place, len(table))
        order = list(table)
        if deal:  # the first deal is in the table's order
            random.Random(deal).shuffle(order)
        found.append(order[number])
    return found


class Round:
    """One customer, whose usage is sent, closed, corrected and billed under faults."""

    def __init__(self, ground: Ground, seed: int, told: Told) -> None:
        self._ground, self._told = ground, told
        self._chance = random.Random(seed)
        self._tag = f"faults-{seed}-{time.time_ns():x}"
        self._faults = faults_of(seed, ground.faults)
        self._senders = [
            Sender(
                f"{self._tag}-{number}",
                way.base_url(),
                ground.deployment.token,
                source=self._source,
                subjects=self._subjects,
                seed=self._chance.randrange(10**9),
                through_topic=way.through_topic,
            )
            for number, way in enumerate(ground.ways)
        ]
        self._agreed = Agreement("", "", "")

    @property
    def _source(self) -> str:
        return f"urn:{self._tag}"

    @property
    def _subjects(self) -> list[str]:
        return [f"{self._tag}-meter-{number}" for number in range(SUBJECTS)]

    def play(self) -> None:
        deployment = self._ground.deployment
        with client_of(deployment.base_url, deployment.token) as client:
            self._agreed = agree(
                client, self._tag, starts_at=STARTS_AT, subjects=self._subjects, with_clock=True
            )
            self._watch(client)
            ground = self._ground
            with (
                moving(client, self._agreed.clock_id, [WHILE_SENDING]),
                ground.meanwhile(),
                sending(self._senders),
            ):
                for fault in self._faults:
                    time.sleep(self._chance.uniform(*BEFORE_A_BLOW_S))
                    began = time.monotonic()
                    fault.strike()
                    self._told.struck.append(Struck("usage", fault.name, time.monotonic() - began))
                self._until_one_has_closed(client)
                time.sleep(self._chance.uniform(*BEFORE_A_BLOW_S))
            self._correct_some()
            self._until_stored(client)
            self._at_rest()
            self._what_comes_again_changes_nothing(client)
            self._check_alerts(known_to(self._senders))
            for instant in AFTERWARDS:
                with moving(client, self._agreed.clock_id, [instant]):
                    pass
                if instant is not AFTERWARDS[-1]:  # of windows that have closed, and billed with the last
                    self._correct_some()
                self._at_rest()
            known = known_to(self._senders)
            self._check_events(client, known)
            self._check_windows(client, known)
            self._check_invoices(client)
        self._told.events += len(known.of("counted", "voided"))
        for sender in self._senders:
            self._told.statuses += sender.book.statuses
            self._told.repeats += sender.book.repeats

    def _watch(self, client: httpx.Client) -> None:
        marks = [{"quantity": str(mark)} for mark in MARKS]
        alert = {"subscription_id": self._agreed.subscription_id, "meter": METER, "marks": marks}
        stubborn(client, "/v1/usage-alerts", alert, **{"idempotency-key": self._tag})

    def _correct_some(self) -> None:
        """Each of the senders in another way, so that it is over soon."""
        self._chance.shuffle(self._senders)
        for place, sender in enumerate(self._senders):
            sender.ways_to_correct[place % len(sender.ways_to_correct)]()

    def _until_one_has_closed(self, client: httpx.Client) -> None:
        """While usage still comes in."""
        query = {"subscription_id": self._agreed.subscription_id, "state": "closed"}
        give_up_at = time.monotonic() + ARRIVES_WITHIN_S
        while True:  # an answer may be a refusal or be lost: faults have just struck
            try:
                answer = client.get("/v1/usage-windows", params=query)
            except httpx.TransportError:
                pass
            else:
                if answer.is_success and answer.json()["data"]:
                    return
            assert time.monotonic() < give_up_at, "no window closes"
            time.sleep(LOOK_EVERY_S)

    # When faults have stopped

    def _until_stored(self, client: httpx.Client) -> None:
        """The usage topic is read to its end, and what was accepted is settled: it stands in the results of its batch."""
        if not any(way.through_topic for way in self._ground.ways):
            return
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        while waiting := self._audits("metering")["metering"]["facts"]["usage_records_waiting"]:
            assert time.monotonic() < give_up_at, f"{waiting} records wait in the usage topic"
            time.sleep(LOOK_EVERY_S)
        for sender in self._senders:
            for batch_id in self._chance.sample(sender.book.batches, min(BATCHES, len(sender.book.batches))):
                batch = self._batch(client, batch_id)
                assert batch["complete"], batch

    @staticmethod
    def _batch(client: httpx.Client, batch_id: str) -> Thing:
        answer = client.get("/v1/usage-events/results", params={"batch_id": batch_id, "limit": "1"})
        assert answer.status_code == 200, answer.text
        batch: Thing = answer.json()["batch"]
        return batch

    def _at_rest(self) -> None:
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        while left := asyncio.run(unrest(self._ground.dsn)):
            assert time.monotonic() < give_up_at, left
            time.sleep(LOOK_EVERY_S)

    def _what_comes_again_changes_nothing(self, client: httpx.Client) -> None:
        """Sent again by its sender, and delivered again by the bus, after its window has closed."""
        before = self._said()
        for sender in self._senders:
            sender.repeat(5)
        self._ground.deliver_again()
        self._until_stored(client)
        self._at_rest()
        assert self._said() == before, "a repeat has corrected a window"

    def _said(self, *types: str) -> list[tuple[str, Thing]]:
        """Of this subscription, in the order of saying; without types, what was said of its windows."""
        types = types or (UsageWindowClosedV1.TYPE, UsageCorrectedV1.TYPE)
        dsn = self._ground.dsn(database_name("metering"))
        return asyncio.run(_said_of(dsn, types, self._agreed.subscription_id))

    # What must be true

    def _check_alerts(self, known: Known) -> None:
        """Each mark at most once in a period; in the one that is under way, each that its usage has come to."""
        used, _ = known.between(*UNDER_WAY)
        wanted = {(1, mark) for mark in MARKS if mark <= used}
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        while True:
            told = Counter(
                (data["period_index"], int(data["threshold"]))
                for _, data in self._said(UsageThresholdReachedV1.TYPE)
            )
            if wanted <= told.keys():
                break
            assert time.monotonic() < give_up_at, (wanted, told)
            time.sleep(LOOK_EVERY_S)
        assert set(told.values()) <= {1}, told
        assert MARKS[-1] not in {mark for _, mark in told}, told

    def _check_events(self, client: httpx.Client, known: Known) -> None:
        """Each event that was taken in is kept once, or stands in a list that says why not; the sums are theirs."""
        kept = everything(client, "/v1/usage-events", source=self._source)
        times_kept = {sent.id: 1 + sent.amendments for sent in known.of("counted", "voided")}
        _same("kept", [event["id"] for event in kept], Counter(times_kept).elements())
        counting = [
            (event["id"], event["subject"], datetime.fromisoformat(event["time"]), int(event["data"]["kwh"]))
            for event in kept
            if event["corrected"] is None
        ]
        expected = [(sent.id, sent.now.subject, sent.now.at, sent.now.kwh) for sent in known.of("counted")]
        _same("counting", counting, expected)
        rejects = everything(client, "/v1/usage-rejects", source=self._source)
        states = [(sent.id, "resolved") for sent in known.sent if sent.was_rejected]
        states += [(sent.id, "open") for sent in known.of("rejected")]
        _same("rejected", [(each["event_id"], each["state"]) for each in rejects], states)
        conflicts = everything(client, "/v1/usage-conflicts", source=self._source)
        payloads = [(each["event_id"], json.loads(each["payload"])["data"]["kwh"]) for each in conflicts]
        _same("in conflict", payloads, known.conflicts)
        for place, (meter, aggregation) in enumerate(METERS.items()):
            for subject, sums in known.by_subject().items():
                query = {
                    "meter": meter,
                    "subject": subject,
                    "from": "2025-01-01T00:00:00Z",
                    "to": "2025-03-01T00:00:00Z",
                }
                answer = client.get("/v1/usage", params=query)
                assert answer.status_code == 200, answer.text
                told = [(Decimal(row["quantity"]), row["event_count"]) for row in answer.json()["data"]]
                assert told == [(Decimal(sums[place]), sums[1])], (aggregation, subject, told, sums)

    def _check_windows(self, client: httpx.Client, known: Known) -> None:
        """Closed once; each correction begins where the last one ended, and changes something; the last is the truth."""
        said = self._said()
        windows = everything(client, "/v1/usage-windows", subscription_id=self._agreed.subscription_id)
        closed = [window for window in windows if window["state"] == "closed"]
        assert len(closed) == 1 + len(AFTERWARDS)
        for window in closed:
            of_window = [(type, data) for type, data in said if data["window_id"] == window["id"]]
            types = [type for type, _ in of_window]
            assert types == [UsageWindowClosedV1.TYPE] + [UsageCorrectedV1.TYPE] * window["revision"], types
            totals = _quantities(of_window[0][1]["totals"])
            for revision, (_, correction) in enumerate(of_window[1:], 1):
                assert correction["revision"] == revision, correction
                assert _quantities(correction["before"]) == totals, (totals, correction)
                now = _quantities(correction["totals"])
                assert now != totals, f"a correction that corrects nothing: {correction}"
                totals = now
            start, end = (datetime.fromisoformat(window[name]) for name in ("window_start", "window_end"))
            quantity, count = known.between(start, end)
            assert list(totals.values()) == [(Decimal(quantity), count)], (totals, quantity, count)
            assert _quantities(window["totals"]) == totals, (window, totals)
            self._told.corrections += window["revision"]

    def _check_invoices(self, client: httpx.Client) -> None:
        """All together they come to the fees and to all that was counted, what was late and voided too; all are paid."""
        invoices = everything(client, "/v1/invoices", customer_id=self._agreed.customer_id)
        assert {invoice["status"] for invoice in invoices} == {"paid"}, invoices
        total = sum(Decimal(invoice["net"]["amount"]) for invoice in invoices)
        newest = {data["window_id"]: data["totals"] for _, data in self._said()}
        used = sum(quantity for totals in newest.values() for quantity, _ in _quantities(totals).values())
        assert total == FEES * FEE + UNIT * used, (total, used, [invoice["net"] for invoice in invoices])

    def check_audit(self) -> None:
        """As `perennial audit` does."""
        findings = findings_of(self._audits(*SERVICES))
        problems = {finding.name: finding.problems for finding in findings if not finding.ok}
        assert not problems, problems

    def _audits(self, *services: str) -> dict[str, Thing]:
        deployment = self._ground.deployment
        with client_of(deployment.base_url, deployment.operator_token()) as client:
            return {service: client.get(f"/v1/{service}-operations/audit").json() for service in services}


def _same(what: str, found: Iterable[Any], expected: Iterable[Any]) -> None:
    """The same things, each as often."""
    counted, told = Counter(found), Counter(expected)
    assert counted == told, f"{what}, and should not be: {counted - told}; missing: {told - counted}"


def _quantities(totals: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Decimal, int]]:
    return {total["item_id"]: (Decimal(total["quantity"]), total["event_count"]) for total in totals}


async def unrest(dsn: Callable[[str], str]) -> dict[str, int]:
    """What is not told, heard or done yet; nothing when all is at rest."""
    left: Counter[str] = Counter()
    for service in SERVICES:
        connection = await asyncpg.connect(asyncpg_dsn(dsn(database_name(service))))
        try:
            for told, (services, query) in _UNREST.items():
                if service in services:
                    left[f"{service}: {told}"] += await connection.fetchval(query)
        finally:
            await connection.close()
    return +left


async def _said_of(dsn: str, types: Sequence[str], subscription_id: str) -> list[tuple[str, Thing]]:
    connection = await asyncpg.connect(asyncpg_dsn(dsn))
    try:
        rows = await connection.fetch(_SAID, types, subscription_id)
    finally:
        await connection.close()
    return [(row["type"], json.loads(row["data"])) for row in rows]


class _Mover:
    """Moves the clock on a thread of its own, past all that breaks."""

    def __init__(self, client: httpx.Client, clock_id: str, instants: Sequence[datetime]) -> None:
        self._client, self._path, self._instants = client, f"/v1/test-clocks/{clock_id}/moves", instants
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None
        self._give_up_at = float("inf")  # while faults strike, it takes as long as it takes

    def start(self) -> None:
        self._thread.start()

    def await_arrival(self) -> None:
        self._give_up_at = time.monotonic() + ARRIVES_WITHIN_S
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for instant in self._instants:
                self._move_to(instant)
        except BaseException as error:
            self._error = error

    def _move_to(self, instant: datetime) -> None:
        text = instant.isoformat()
        answer, _ = stubborn(
            self._client, self._path, {"to": text}, **{"idempotency-key": f"{self._path}{text}"}
        )
        move = answer.json()
        while move["state"] != "arrived":
            assert time.monotonic() < self._give_up_at, move
            time.sleep(LOOK_EVERY_S)
            try:
                answer = self._client.get(f"{self._path}/{move['id']}")
            except httpx.TransportError:
                continue
            if answer.is_success:
                move = answer.json()


@contextmanager
def moving(client: httpx.Client, clock_id: str, instants: Sequence[datetime]) -> Iterator[None]:
    """The clock has arrived when the block is left."""
    mover = _Mover(client, clock_id, instants)
    mover.start()
    try:
        yield
    finally:
        mover.await_arrival()

"""SIGTERM to a worker in the midst of its work: it finishes, gives its partitions back and leaves nothing claimed."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from examples.engines_by_the_minute.dataset import installed_data
from libs.common.contracts import HEARS, topic_of
from libs.common.contracts.topics import TOPICS
from libs.common.persistence.session import asyncpg_dsn
from libs.common.serving.addresses import database_name
from tests.journeys.flights.straight_from_the_csv import owed_by_airline, rows_of
from tests.journeys.flights.test_a_year_of_flights import as_owed, invoices_by_airline
from tests.support.demo import COMMAND, ROOT, audit, demo_environment
from tests.support.fleet import Fleet

CARRIERS, MONTHS = ("AA", "UA"), 1
LABEL = f"-{MONTHS}m-{''.join(CARRIERS).lower()}"
SECOND = "billing-worker-2"
GROUP = "perennial.billing"
SESSION_TIMEOUT_S = 10
HEARD_PARTITIONS = sum(topic.partitions for topic in TOPICS if topic.name in map(topic_of, HEARS["billing"]))
BILLING_BEGINS = re.compile(r"aircraft, late")


@pytest.fixture(scope="module")
def two_workers(processes: Fleet) -> Iterator[Fleet]:
    """Billing has two, so that the second can take over."""
    processes.add(SECOND, like="billing-worker")
    yield processes
    processes.remove(SECOND)
    for name in processes.names:
        if not processes.is_running(name):
            processes.launch(name)


def partitions_of(fleet: Fleet, name: str) -> list[tuple[float, int]]:
    """When this worker's share of the group changed, and how many partitions it had then."""
    told = []
    for line in fleet.log(name).read_text(encoding="utf-8").splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry["message"] == "partitions moved" and entry.get("group") == GROUP:
            told.append((_seconds(entry["ts"]), entry["partitions"]))
    return told


def _seconds(ts: str) -> float:
    return datetime.fromisoformat(ts).timestamp()


def count(fleet: Fleet, service: str, query: str) -> int:
    """As an administrator sees it, past all policies."""

    async def ask() -> int:
        connection = await asyncpg.connect(asyncpg_dsn(fleet.database_url(database_name(service))))
        try:
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    return asyncio.run(ask())


def wait_until(met: Callable[[], object], *, timeout_s: float) -> float:
    """Returns how long it took."""
    began = time.monotonic()
    while not met():
        assert time.monotonic() - began < timeout_s, "not in time"
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_worker_that_is_told_to_stop_hands_over(two_workers: Fleet, tmp_path: Path) -> None:
    fleet, printed = two_workers, tmp_path / "printed"
    wait_until(lambda: partitions_of(fleet, SECOND) and partitions_of(fleet, SECOND)[-1][1] > 0, timeout_s=20)
    options = ["--months", str(MONTHS), "--carriers", ",".join(CARRIERS)]
    with printed.open("wb") as out:
        demo = subprocess.Popen(
            [*COMMAND, *options], cwd=ROOT, env=demo_environment(fleet), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: BILLING_BEGINS.search(printed.read_text(encoding="utf-8")), timeout_s=90)
        time.sleep(0.3)
        stopped_at, began = time.time(), time.monotonic()
        assert fleet.terminate("billing-worker") == 0
        print(f"billing-worker ended after {time.monotonic() - began:.1f} s")
        for name in ("subscriptions-worker", "metering-worker"):
            began = time.monotonic()
            assert fleet.terminate(name) == 0
            print(f"{name} ended after {time.monotonic() - began:.1f} s")
            fleet.start(name)

        # The second has all partitions long before it could have been found out that the first is gone.
        wait_until(
            lambda: partitions_of(fleet, SECOND)[-1][1] == HEARD_PARTITIONS, timeout_s=SESSION_TIMEOUT_S / 2
        )
        moved_s = partitions_of(fleet, SECOND)[-1][0] - stopped_at
        print(f"its partitions had moved after {moved_s:.1f} s")
        assert moved_s < SESSION_TIMEOUT_S / 2
        assert demo.wait(120) == 0, printed.read_text(encoding="utf-8")[-3000:]
    finally:
        demo.kill()
        demo.wait()

    owed = owed_by_airline(rows_of(installed_data() / "flights.csv.zip"), months=MONTHS)
    found = invoices_by_airline(fleet, label=LABEL)
    assert as_owed(found) == {carrier: owed[carrier] for carrier in CARRIERS}
    assert {invoice["status"] for invoices in found.values() for invoice in invoices} == {"paid"}
    assert count(fleet, "billing", "SELECT count(*) FROM payment_attempt WHERE state = 'calling'") == 0
    for service in ("catalog", "subscriptions", "metering", "billing"):
        assert count(fleet, service, "SELECT count(*) FROM outbox WHERE published_at IS NULL") == 0
        assert count(fleet, service, "SELECT count(*) FROM message_failure") == 0
    report = audit(fleet)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]


def test_an_api_that_is_told_to_stop_answers_what_it_was_asked(processes: Fleet) -> None:
    """A request that is under way gets its answer; those that come later find the other process."""
    with processes.client() as client:
        body = b"".join(
            b'{"specversion":"1.0","id":"stop-%d","source":"stopping","type":"wash","subject":"m","data":{}}\n'
            % n
            for n in range(5_000)
        )

        def slowly() -> Iterator[bytes]:
            half = len(body) // 2
            yield body[:half]
            processes.tell_to_stop("metering-api")
            time.sleep(0.5)
            yield body[half:]

        answer = client.post(
            "/v1/usage-events", content=slowly(), headers={"content-type": "application/x-ndjson"}
        )
        assert answer.status_code == 200, answer.text
        assert {result["status"] for result in answer.json()["results"]} == {"stored"}
        assert processes.await_exit("metering-api") == 0
        refused = client.get("/v1/meters")
        assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
        processes.start("metering-api")
        assert client.get("/v1/meters").status_code == 200

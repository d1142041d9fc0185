"""Databases of the last release, left in the middle of everything, go on under the present code.

The data was made by that release's own code (see `data/README.md`), then its process was killed. Here it is restored,
migrated by the start, and both stories are told to their end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from deploy.local.sandbox import TENANT_SCOPES
from examples.engines_by_the_minute.dataset import installed_data
from libs.common.access.keys import KeyFile
from libs.common.access.token import sign_token
from libs.common.contracts import SERVICES
from tests.journeys.flights.straight_from_the_csv import owed_by_airline, rows_of
from tests.journeys.flights.test_a_year_of_flights import (
    DEMO,
    ROOT,
    as_owed,
    environment,
    everything,
    invoices_by_airline,
)
from tests.journeys.upgrade.before import (
    AIRLINES,
    END,
    FLIGHTS_SENT_UNTIL,
    KEPT_CUSTOMER,
    KEPT_KEY,
    LAUNDRY,
    REVOKED,
    STOLEN,
)
from tests.journeys.upgrade.restoring import Restored, restored, schema_of
from tests.support.demo import audit
from tests.support.postgres import PostgresForTests
from tests.support.service_database import service_database

RELEASE = "80b7486"
WAIT_S = 60.0

Thing = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """`found` is what stood in the databases when the present code was started, `issued` the invoices of then."""

    restored: Restored
    found: dict[str, int]
    issued: dict[str, Thing]

    def token(self, tenant: str, *, key: int = 0, token_id: str | None = None) -> str:
        """Signed with one of the keys that the release left."""
        signing = KeyFile.load(self.restored.process.folder / "keys.json").keys[key]
        return sign_token(
            signing,
            tenant=tenant,
            scopes=TENANT_SCOPES,
            now=datetime.now(UTC),
            lifetime_s=600,
            token_id=token_id,
        )

    def laundry(self) -> httpx.Client:
        return self.restored.process.client(self.token(LAUNDRY))


_FOUND = {
    "drafts": ("billing", "SELECT count(*) FROM invoice WHERE status = 'draft'"),
    "payments being made": ("billing", "SELECT count(*) FROM payment_attempt WHERE state = 'calling'"),
    "payments to come": ("billing", "SELECT count(*) FROM payment_attempt WHERE state = 'pending'"),
    "dead letters": ("billing", "SELECT count(*) FROM message_failure WHERE dead"),
    "failing messages": ("billing", "SELECT count(*) FROM message_failure WHERE NOT dead"),
    "open windows": ("metering", "SELECT count(*) FROM usage_window WHERE state <> 'closed'"),
    "unpublished, subscriptions": (
        "subscriptions",
        "SELECT count(*) FROM outbox WHERE published_at IS NULL",
    ),
    "unpublished, catalog": ("catalog", "SELECT count(*) FROM outbox WHERE published_at IS NULL"),
    "clocks under way": ("subscriptions", "SELECT count(*) FROM clock_move WHERE state = 'moving'"),
}


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    with restored(RELEASE, tmp_path_factory.mktemp("upgrade") / "log") as release:
        found = {name: release.ask(service, query)[0][0] for name, (service, query) in _FOUND.items()}
        issued = {
            id: {"number": number, "total_minor": total}
            for id, number, total in release.ask(
                "billing", "SELECT id, number, total_minor FROM invoice WHERE number IS NOT NULL"
            )
        }
        release.process.start()
        yield Upgraded(release, found, issued)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [
        row
        for row in rows_of(installed_data() / "flights.csv.zip")
        if row["carrier"] in AIRLINES.carriers and int(row["month"]) <= AIRLINES.months
    ]


@pytest.fixture(scope="module")
def told(upgraded: Upgraded) -> Upgraded:
    """Both stories have come to their end."""
    process = upgraded.restored.process
    options = ["--months", str(AIRLINES.months), "--carriers", ",".join(sorted(AIRLINES.carriers))]
    options += ["--json", str(process.folder / "result.json")]
    with (process.folder / "printed").open("wb") as out:
        demo = subprocess.Popen(
            [*DEMO, *options], cwd=ROOT, env=environment(process), stdout=out, stderr=subprocess.STDOUT
        )
    with upgraded.laundry() as client:
        clock = f"/v1/test-clocks/{upgraded.restored.told['clock_id']}"
        until("the clock arrives", lambda: client.get(clock).json()["now"] == END)
        for name in ("silent", "starts"):
            until(f"{name} has paid", lambda name=name: all_paid(invoices(client, name)))
    assert demo.wait(WAIT_S) == 0, (process.folder / "printed").read_text(encoding="utf-8")
    return upgraded


def invoices(client: httpx.Client, name: str) -> list[Thing]:
    """A laundry customer's, by boundary."""
    (customer,) = client.get("/v1/customers", params={"external_id": name}).json()["data"]
    page = client.get("/v1/invoices", params={"customer_id": customer["id"], "limit": "200"}).json()
    return sorted(page["data"], key=lambda invoice: str(invoice["boundary_at"]))


def all_paid(found: list[Thing]) -> bool:
    return bool(found) and {invoice["status"] for invoice in found} == {"paid"}


def until(what: str, is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < give_up_at, f"never: {what}"
        time.sleep(0.1)


def test_the_release_was_stopped_in_the_middle_of_everything(upgraded: Upgraded) -> None:
    """Else the rest would prove little."""
    assert upgraded.found == {
        "drafts": 3,
        "payments being made": 1,
        "payments to come": 1,
        "dead letters": 1,
        "failing messages": 1,
        "open windows": 10,
        "unpublished, subscriptions": 3,
        "unpublished, catalog": 1,
        "clocks under way": 1,
    }


async def test_the_databases_are_as_if_they_had_been_made_anew(
    upgraded: Upgraded, postgres: PostgresForTests
) -> None:
    """Tables, indexes, triggers, policies and rights, down to the last one."""
    for service in SERVICES:
        async with service_database(postgres, service) as new:
            made_anew = schema_of(postgres.server, new.name)
        assert lines_of(upgraded.restored.schema(service)) - lines_of(made_anew) == Counter(), service
        assert lines_of(made_anew) - lines_of(upgraded.restored.schema(service)) == Counter(), service


def lines_of(schema: str) -> Counter[str]:
    """In no order: what is added later stands at the end, and what stands at the end has no comma."""
    told = (line.strip().rstrip(",") for line in schema.splitlines())
    return Counter(line for line in told if line and not line.startswith("--"))


def test_the_airlines_year_goes_on_and_every_invoice_agrees_to_the_cent(
    told: Upgraded, rows: list[dict[str, str]]
) -> None:
    process = told.restored.process
    found = invoices_by_airline(process, label=f"-{AIRLINES.label}")
    assert as_owed(found) == owed_by_airline(rows, months=AIRLINES.months)
    assert all(all_paid(mine) for mine in found.values())
    numbers = sorted(invoice["number"] for mine in found.values() for invoice in mine)
    assert [int(number.removeprefix("CHE-").split("-")[-1]) for number in numbers] == list(
        range(1, len(numbers) + 1)
    )


def test_flights_that_the_release_stored_are_recognised(told: Upgraded, rows: list[dict[str, str]]) -> None:
    flown = [row["time_hour"] < FLIGHTS_SENT_UNTIL for row in rows if row["air_time"] != "NA"]
    written = json.loads((told.restored.process.folder / "result.json").read_text(encoding="utf-8"))
    statuses = written["events"]["statuses"]
    assert statuses["duplicate"] == sum(flown)
    assert statuses["stored"] == len(flown) - sum(flown)
    assert statuses["rejected"] == len(rows) - len(flown)
    early = written["bindings"]["early"]
    assert early["unchanged"] > 0


def test_invoices_of_the_release_stay_what_they_were(told: Upgraded) -> None:
    airlines = everything(told.restored.process, "/v1/invoices")
    with told.laundry() as client:
        customers = client.get("/v1/invoices", params={"limit": "200"}).json()["data"]
    by_id = {invoice["id"]: invoice for invoice in (*airlines, *customers)}
    assert told.issued
    for id, issued in told.issued.items():
        assert by_id[id]["number"] == issued["number"]
        assert Decimal(by_id[id]["total"]["amount"]) * 100 == issued["total_minor"]


@pytest.mark.parametrize(
    ("name", "bills"),
    [
        ("pays", ["30.00 paid", "40.00 paid", "35.00 paid"]),
        ("leaves", ["30.00 paid", "32.50 paid"]),
        ("fails", ["30.00 finalized", "30.00 finalized", "30.00 finalized"]),
        ("silent", ["30.00 paid"]),
        ("starts", ["300.00 paid"]),
    ],
)
def test_each_customer_of_the_laundry_has_his_bills_once(told: Upgraded, name: str, bills: list[str]) -> None:
    """January, February and March. Whoever starts on the day of the upgrade pays a year in advance."""
    with told.laundry() as client:
        found = [f"{invoice['total']['amount']} {invoice['status']}" for invoice in invoices(client, name)]
    years = (datetime.now(UTC) - datetime.fromisoformat(told.restored.told["made_at"])).days // 365
    assert found == (bills * (years + 1) if name == "starts" else bills)


def test_the_payment_that_nobody_heard_of_was_made_once(told: Upgraded) -> None:
    """The money was taken, the answer lost, and the process killed: the gateway is asked, not paid again."""
    with told.laundry() as client:
        (invoice,) = invoices(client, "silent")
        attempts = client.get(f"/v1/invoices/{invoice['id']}/payment-attempts").json()["data"]
    assert [attempt["state"] for attempt in attempts] == ["succeeded"]
    payments = told.restored.ask("billing", "SELECT succeeded, idempotency_key FROM sandbox_gateway_payment")
    assert len([key for succeeded, key in payments if succeeded and key == attempts[0]["id"]]) == 1


def test_a_message_that_failed_is_tried_again_by_itself(told: Upgraded) -> None:
    def is_over() -> bool:
        return not told.restored.ask("billing", "SELECT FROM message_failure WHERE NOT dead")

    until("the failing message is handled", is_over)
    named = told.restored.ask("billing", "SELECT name FROM customer WHERE name LIKE 'Unlucky%'")
    assert named == [("Unlucky too",)]


def test_a_dead_letter_of_the_release_can_be_redriven(told: Upgraded) -> None:
    with told.restored.process.client(told.restored.process.operator_token()) as operator:
        path = "/v1/billing-operations/dead-letters"
        (letter,) = operator.get(path, params={"status": "dead"}).json()["data"]
        assert operator.post(f"{path}/{letter['message_id']}/redrive").is_success
        until("it is handled", lambda: not operator.get(path).json()["data"])
    named = told.restored.ask("billing", "SELECT name FROM customer WHERE name LIKE 'Unlucky%' ORDER BY name")
    assert named == [("Unlucky",), ("Unlucky too",)]


def test_both_keys_of_the_release_are_good_and_its_revoked_tokens_are_not(told: Upgraded) -> None:
    """One revocation had been heard by all, the other one by none."""
    process = told.restored.process
    for key in (0, 1):
        with process.client(told.token(LAUNDRY, key=key)) as client:
            assert client.get("/v1/customers").status_code == 200
    paths = ("/v1/products", "/v1/customers", "/v1/usage-windows", "/v1/invoices")
    for token_id in (REVOKED, STOLEN):
        with process.client(told.token(LAUNDRY, token_id=token_id)) as client:
            assert [client.get(path).status_code for path in paths] == [401] * 4


def test_a_request_made_under_the_release_is_answered_as_it_was(told: Upgraded) -> None:
    with told.laundry() as client:
        headers = {"idempotency-key": KEPT_KEY}
        again = client.post("/v1/customers", json=KEPT_CUSTOMER, headers=headers)
        assert again.status_code == 201
        assert again.headers["idempotent-replayed"] == "true"
        (kept,) = client.get("/v1/customers", params={"external_id": "kept"}).json()["data"]
        assert again.json()["id"] == kept["id"]
        other = client.post("/v1/customers", json=KEPT_CUSTOMER | {"name": "Other"}, headers=headers)
        assert other.status_code == 422


def test_nothing_is_left_unpublished(told: Upgraded) -> None:
    query = "SELECT type FROM outbox WHERE published_at IS NULL"
    until("all is told", lambda: not any(told.restored.ask(service, query) for service in SERVICES))


def test_a_second_start_migrates_nothing_and_messages_of_the_release_are_recognised(told: Upgraded) -> None:
    """Every group hears everything again that the bus still has, from before the upgrade on."""
    process, release = told.restored.process, told.restored
    before = state_of(release)
    process.kill()
    (heard,) = release.ask("bus", 'SELECT sum("offset") FROM bus_offset')[0]
    release.ask("bus", 'UPDATE bus_offset SET "offset" = 0')
    process.start()

    def is_heard() -> bool:
        return release.ask("bus", 'SELECT sum("offset") FROM bus_offset')[0][0] >= heard

    until("everything is heard again", is_heard)
    assert state_of(release) == before


def test_the_migration_by_itself_finds_nothing_to_do(told: Upgraded) -> None:
    """The command that a deployment of many processes is upgraded with."""
    before = state_of(told.restored)
    secrets = {"PERENNIAL_DATABASE_ADMIN_PASSWORD": "none", "PERENNIAL_DATABASE_PASSWORD": "not asked for"}
    server = {"PERENNIAL_DATABASE_URL": told.restored.server.dsn()}
    command = [sys.executable, "-m", "deploy.migrate"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | secrets | server, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert state_of(told.restored) == before


def state_of(release: Restored) -> dict[str, Any]:
    """The schema of each database and what has failed there; every invoice and payment, to the last column."""
    told: dict[str, Any] = {service: release.schema(service) for service in SERVICES}
    for service in SERVICES:
        told[f"failures of {service}"] = release.ask(service, "SELECT message_id FROM message_failure")
    told["invoices"] = release.ask("billing", "SELECT i::text FROM invoice i ORDER BY id")
    payments = "SELECT p::text FROM sandbox_gateway_payment p ORDER BY idempotency_key"
    told["payments"] = release.ask("billing", payments)
    return told


def test_the_audit_is_clean_in_the_end(told: Upgraded) -> None:
    report = audit(told.restored.process)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]

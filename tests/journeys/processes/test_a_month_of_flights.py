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
from tests.support.demo import Deployment, Thing, audit, everything, run_demo, whole_invoices
from tests.support.fleet import PROCESSES, Fleet
from tests.support.one_process import one_process

MONTHS = 1
SOME = ("9E", "F9", "FL", "HA", "OO", "VX", "YV")  # in the short form; all sixteen in the long one


@dataclass(frozen=True, slots=True)
class Part:
    """The airlines whose month is told; `label` is what the story calls them by."""

    options: tuple[str, ...]
    label: str
    owed: Owed


@dataclass(frozen=True, slots=True)
class Told:
    printed: str
    elapsed_s: float
    invoices: list[Thing]
    ledger: list[Thing]


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.long)])
def part(request: pytest.FixtureRequest) -> Part:
    owed = owed_by_airline(rows_of(installed_data() / "flights.csv.zip"), months=MONTHS)
    if request.param == "all":
        return Part(("--months", str(MONTHS)), f"-{MONTHS}m", owed)
    label = f"-{MONTHS}m-{''.join(SOME).lower()}"
    options = ("--months", str(MONTHS), "--carriers", ",".join(SOME))
    return Part(options, label, {carrier: owed[carrier] for carrier in SOME})


@pytest.fixture(scope="module")
def told(processes: Fleet, part: Part) -> Told:
    return tell(processes, part)


@pytest.fixture(scope="module")
def told_embedded(part: Part, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The same story in one process, on the bus of tables."""
    with one_process(tmp_path_factory.mktemp("one-process") / "log") as process:
        process.start()
        return tell(process, part)


def tell(deployment: Deployment, part: Part) -> Told:
    began = time.monotonic()
    printed = run_demo(deployment, *part.options)
    elapsed_s = time.monotonic() - began
    customers = [f"nycflights13:{carrier}{part.label}" for carrier in part.owed]
    with deployment.client() as client:
        known = {each["external_id"]: each["id"] for each in everything(client, "/v1/customers")}
        ledger = [
            entry
            for customer in customers
            for entry in everything(client, "/v1/ledger-entries", customer_id=known[customer])
        ]
    return Told(printed, elapsed_s, whole_invoices(deployment, customers), ledger)


def test_the_invoices_are_those_of_the_file(processes: Fleet, told: Told, part: Part) -> None:
    found = invoices_by_airline(processes, label=part.label)
    assert as_owed(found) == part.owed
    assert {invoice["status"] for invoices in found.values() for invoice in invoices} == {"paid"}


def test_the_documents_are_those_of_the_one_process(told: Told, told_embedded: Told, part: Part) -> None:
    """Field by field, with all lines and all instants: the story has its own time."""
    print(f"the story took {told.elapsed_s:.1f} s, in one process {told_embedded.elapsed_s:.1f} s")
    assert len(told.invoices) == sum(len(invoices) for invoices in part.owed.values())
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

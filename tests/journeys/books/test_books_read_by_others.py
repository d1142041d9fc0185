"""What is exported, read by programs of others in an environment that has nothing of ours: DuckDB and Beancount."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import venv
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.billing.domain.ledger_entry import ACCOUNT_TYPES
from tests.cases.server import SharedServer

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements-books.lock"
SCRIPT = Path(__file__).with_name("read_with_both.py")
ROOTS = {"asset": "Assets", "liability": "Liabilities", "income": "Income", "expense": "Expenses"}
FORMULA = '=HYPERLINK("http://evil.example","Light")'


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the environment in which both are."""
    folder = tmp_path_factory.mktemp("readers")
    venv.create(folder)
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    sync: list[str | Path] = [uv, "pip", "sync", "--quiet", "--no-build", "--require-hashes", LOCK]
    made = subprocess.run([*sync, "--python", python], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return python


def test_both_read_the_books_as_they_are(readers: Path, shared_server: SharedServer, tmp_path: Path) -> None:
    process = shared_server.process()
    with process.client() as client:
        a_year_ahead(client, shared_server)
        for name, path, asked in (
            ("ledger.csv", "/v1/ledger-exports", {}),
            ("ledger.beancount", "/v1/ledger-exports", {"format": "beancount"}),
            ("later.beancount", "/v1/ledger-exports", {"format": "beancount", "from": "2026-03-01"}),
            ("invoices.csv", "/v1/invoice-exports", {}),
        ):
            answer = client.get(path, params=asked)
            assert answer.status_code == 200, answer.text
            (tmp_path / name).write_bytes(answer.content)
        balances = trial_balance(client)
    checked = subprocess.run(
        [readers.with_name("bean-check"), tmp_path / "ledger.beancount"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    read = subprocess.run(
        [readers, "-I", SCRIPT, tmp_path], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert read.returncode == 0, read.stderr
    told = json.loads(read.stdout)

    assert told["beancount"]["errors"] == told["later"]["errors"] == []
    assert told["duckdb"]["unbalanced"] == told["duckdb"]["invoices_off"] == []
    assert amounts(told["duckdb"]["balances"]) == balances
    named = {renamed(account): amount for account, amount in balances.items()}
    assert amounts(told["beancount"]["balances"]) == amounts(told["later"]["balances"]) == named
    exported = (tmp_path / "ledger.csv").read_bytes().decode()
    records = list(csv.DictReader(io.StringIO(exported, newline="")))
    assert told["beancount"]["transactions"] == len({record["posting"] for record in records})
    assert told["beancount"]["asserted"] >= len(balances)
    assert f"'{FORMULA}" in told["duckdb"]["descriptions"]
    assert FORMULA not in told["duckdb"]["descriptions"]


def a_year_ahead(client: httpx.Client, server: SharedServer) -> None:
    """A one-off invoice for a year of service from 15 January, with a name that a spreadsheet would calculate."""
    perennial = server.perennial()
    perennial.post(
        "/v1/sellers",
        {"code": f"books-{uuid4().hex[:6]}", "name": "Books", "country": "NL", "number_prefix": "BOOK-"},
    )
    customer = perennial.post("/v1/customers", {"name": "+Somebody", "country": "NL"})
    body = {
        "customer_id": customer["id"],
        "currency": "EUR",
        "zone": "Europe/Amsterdam",
        "finalize": True,
        "lines": [
            {
                "description": FORMULA,
                "quantity": "1",
                "unit_amount": "1200.01",
                "service_period": {"start": "2026-01-15", "end": "2027-01-15"},
            },
            {"description": 'Delivery, "with care"', "quantity": "2", "unit_amount": "60"},
            {"description": "Availability", "quantity": "-1", "unit_amount": "12.5", "purpose": "sla_credit"},
        ],
    }
    made = client.post("/v1/invoices", json=body, headers={"idempotency-key": uuid4().hex})
    assert made.status_code == 201, made.text
    assert made.json()["number"], made.text


def trial_balance(client: httpx.Client) -> dict[str, Decimal]:
    """Of all time; an account that came to nothing is left out, as the others do."""
    rows = client.get("/v1/ledger-accounts", params={"at": "2199-12-31"}).json()["data"]
    return {
        f"{row['account']} {row['currency']}": Decimal(row["balance"]["amount"])
        for row in rows
        if Decimal(row["balance"]["amount"])
    }


def amounts(told: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in told.items() if Decimal(amount)}


def renamed(told: str) -> str:
    account, _, currency = told.partition(" ")
    known: Any = account
    words = "-".join(word.capitalize() for word in account.split("_"))
    return f"{ROOTS[ACCOUNT_TYPES[known]]}:{words} {currency}"

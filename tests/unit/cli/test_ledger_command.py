"""`perennial ledger` and `perennial audit`: what they ask for, what they write, and how they say what is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from libs.cli.audit import completeness
from libs.cli.main import app


def _row(account: str, balance: str) -> dict[str, Any]:
    zero, amount = {"amount": "0.00", "currency": "EUR"}, {"amount": balance, "currency": "EUR"}
    return {
        "account": account,
        "type": "asset",
        "currency": "EUR",
        "debits": zero,
        "credits": zero,
        "balance": amount,
    }


CSV = b"posting,amount\r\n" + b"x,1.00\r\n" * 1000
BALANCED = [_row("cash", "12.10"), _row("revenue", "-12.10")]
REFUSED = {"detail": "the end is not later than the start", "remedy": "Bounds are from and to."}
CLEAN = {"name": "c", "ok": True, "checked_count": 3, "problem_count": 0, "problems": []}


def _audited(service: str, documents: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if service in ("subscriptions", "billing"):
        name = "boundaries" if service == "subscriptions" else "documents"
        digest = "77" if service == "subscriptions" else documents
        facts[name] = {"count": 2, "buckets": [[7, 2, digest]]}
    return {"service": service, "ok": True, "checks": [CLEAN], "facts": facts}


class Deployment:
    """What it is asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.rows = BALANCED
        self.documents = "77"

    def answer(self, path: str) -> tuple[int, str, bytes]:
        if "audit/" in path:
            things = ["sub_1 2025-01-01T00:00:00.000000Z", "sub_2 2025-01-01T00:00:00.000000Z"]
            told = things if "subscriptions" in path else things[:1]
            return 200, "application/json", json.dumps({"data": told, "next_after": None}).encode()
        if path.endswith("/audit"):
            service = path.split("/")[2].removesuffix("-operations")
            steps = [{"check": "c", "done": 0, "of": None}, {"report": _audited(service, self.documents)}]
            return 200, "application/x-ndjson", b"".join(json.dumps(s).encode() + b"\n" for s in steps)
        if "to=2020" in path:
            return 422, "application/problem+json", json.dumps(REFUSED).encode()
        if path.startswith("/v1/ledger-accounts"):
            told = {"at": "2031-06-30", "as_of": None, "data": self.rows}
            return 200, "application/json", json.dumps(told).encode()
        return 200, "text/csv", CSV


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    stands = Deployment()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stands.asked.append(self.path)
            status, kind, body = stands.answer(self.path)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("PERENNIAL_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("PERENNIAL_TOKEN", "a-token")
    monkeypatch.setenv("COLUMNS", "160")
    yield stands
    server.shutdown()
    server.server_close()


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


def test_a_trial_balance_is_shown(deployment: Deployment) -> None:
    code, told = run("ledger", "trial-balance", "--at", "2031-06-30")
    assert code == 0, told
    assert deployment.asked == ["/v1/ledger-accounts?at=2031-06-30"]
    assert "12.10" in told
    assert "At the close of 2031-06-30." in told


def test_books_that_do_not_balance_are_an_error(deployment: Deployment) -> None:
    deployment.rows = BALANCED[:1]
    code, told = run("ledger", "trial-balance")
    assert code == 1
    assert "Debits and credits differ." in told


def test_an_export_is_written_whole_or_not_at_all(deployment: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    code, told = run("ledger", "export", "--from", "2031-01-01", "-o", str(file))
    assert code == 0, told
    assert file.read_bytes() == CSV
    assert deployment.asked == ["/v1/ledger-exports?format=csv&from=2031-01-01"]
    refused, told = run("ledger", "export", "--to", "2020-01-01", "-o", str(tmp_path / "none.csv"))
    assert refused == 2
    assert "the end is not later than the start" in told
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.csv"]


def test_invoices_go_to_standard_output_unless_a_file_is_named(deployment: Deployment) -> None:
    code, told = run("ledger", "export-invoices", "--to", "2032-01-01T00:00:00Z")
    assert (code, told) == (0, CSV.decode().replace("\r\n", "\n"))  # the runner reads lines
    assert deployment.asked == ["/v1/invoice-exports?issued_to=2032-01-01T00%3A00%3A00Z"]


def test_an_audit_of_services_that_agree_is_clean(deployment: Deployment) -> None:
    code, told = run("audit")
    assert code == 0, told
    assert "The audit is clean." in told
    assert not [path for path in deployment.asked if "audit/" in path]


def test_an_audit_names_the_boundary_that_has_no_document(deployment: Deployment) -> None:
    deployment.documents = "78"
    code, told = run("audit")
    assert code == 1
    words = " ".join(told.split())  # however wide the screen is
    assert "subscription=sub_2, boundary=2025-01-01T00:00:00.000000Z: billing has no document" in words
    assert [path for path in deployment.asked if "audit/" in path] == [
        "/v1/subscriptions-operations/audit/boundaries?bucket=7",
        "/v1/billing-operations/audit/documents?bucket=7",
    ]


@pytest.mark.parametrize(
    ("documents", "ok"),
    [([[1, 2, "5"], [9, 1, "3"]], True), ([[1, 2, "5"]], False), ([[1, 2, "6"], [9, 1, "3"]], False)],
)
def test_without_listings_only_the_numbers_are_told(documents: list[list[Any]], ok: bool) -> None:
    boundaries = {"count": 3, "buckets": [[1, 2, "5"], [9, 1, "3"]]}
    found = completeness(boundaries, {"count": sum(b[1] for b in documents), "buckets": documents})
    assert (found.ok, len(found.problems)) == (ok, 0 if ok else 1)

"""`perennial preview`: what it asks for, and how it shows documents and refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from libs.cli.main import app


def _eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


DOCUMENT = {
    "document_kind": "invoice",
    "boundary_at": "2026-05-01T00:00:00Z",
    "waits_for": [],
    "currency": "EUR",
    "due": _eur("1090.00"),
    "balance_applied": _eur("20.00"),
    "lines": [
        {
            "description": "Desks",
            "service_period": {"start": "2026-05-01", "end": "2026-06-01"},
            "quantity": "37",
            "unit_amount": "30",
            "net": _eur("1110.00"),
        }
    ],
}
REFUSED = {
    "detail": "there is no plan none",
    "remedy": "Name another.",
    "errors": [{"pointer": "/change/plan", "detail": "there is no plan none"}],
}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """A deployment that shows one document, none at once, and knows no plan called none; what it was asked."""
    requests: list[tuple[str, Any]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            requests.append((self.path, body))
            status, told = 200, {"until": "2026-05-01T00:00:00Z", "documents": [DOCUMENT]}
            if body.get("show") == "at_once":
                told = {**told, "documents": []}
            if body.get("change", {}).get("plan") == "none":
                status, told = 404, REFUSED
            self.send_response(status)
            kind = "application/json" if status == 200 else "application/problem+json"
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("PERENNIAL_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("PERENNIAL_TOKEN", "a-token")
    monkeypatch.setenv("COLUMNS", "160")
    yield requests
    server.shutdown()
    server.server_close()


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["preview", *arguments])
    return done.exit_code, done.output


def test_the_next_invoice_is_shown_with_its_lines(asked: list[tuple[str, Any]]) -> None:
    code, told = run("sub_1")
    assert code == 0, told
    assert asked == [("/v1/subscriptions/sub_1/previews", {})]
    for shown in (
        "invoice of 2026-05-01",
        "Desks",
        "37",
        "1,110.00",
        "customer's balance",
        "-20.00",
        "1,090.00",
    ):
        assert shown in told


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (["--plan", "offices"], {"change": {"when": "now", "plan": "offices"}}),
        (
            ["--quantity", "desk=4", "--when", "period_end"],
            {"change": {"when": "period_end", "quantities": {"desk": "4"}}},
        ),
        (
            ["--plan", "offices", "--when", "2026-05-10", "--at-once"],
            {
                "change": {"when": {"on": "2026-05-10"}, "plan": "offices", "settle": "at_once"},
                "show": "at_once",
            },
        ),
    ],
)
def test_a_change_is_asked_for(arguments: list[str], body: Any, asked: list[tuple[str, Any]]) -> None:
    code, told = run("sub_1", *arguments)
    assert code == 0, told
    assert asked[0][1] == body


def test_anything_else_is_read_from_a_file(tmp_path: Path, asked: list[tuple[str, Any]]) -> None:
    body = {"pause": {"settle": "at_once"}, "show": "at_once"}
    file = tmp_path / "pause.json"
    file.write_text(json.dumps(body))
    code, told = run("sub_1", "--file", str(file))
    assert (code, asked[0][1]) == (0, body)
    assert "nothing is billed" in told
    file.write_text("[]")
    assert run("sub_1", "--file", str(file))[0] == 2


def test_a_refusal_names_the_field() -> None:
    code, told = run("sub_1", "--plan", "none")
    assert code == 2
    assert "/change/plan: there is no plan none" in told

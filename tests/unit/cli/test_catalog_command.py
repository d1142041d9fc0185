"""`perennial catalog` before and beside a deployment: its exit codes, its words, and where it says something is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from libs.cli.catalog_screen import lines_of
from libs.cli.main import app
from libs.common.access.keys import KeyFile

FILE = """\
perennial_catalog: 1
meters:
  - code: washes
    event_type: wash.ended
    aggregation: count
plans:
  - code: laundry
    name: Laundry
"""
THING = {"kind": "plan", "code": "laundry", "pointer": "/plans/0", "version": None, "changes": []}
NOTHING = {
    "things": [{**THING, "action": "unchanged", "words": "stays as it is"}],
    "words": "Nothing changes.",
}
SOMETHING = {"things": [{**THING, "action": "create", "words": "is new"}], "words": "1 to create."}
WASHES = {
    "code": "washes",
    "event_type": "wash.ended",
    "aggregation": "count",
    "value": None,
    "group_by": [],
    "filter": {},
    "unit": None,
    "description": None,
}


@dataclass
class Standing:
    """In for a deployment: it answers imports in turn, knows these meters, and remembers what it was asked."""

    url: str = ""
    imports: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    meters: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, address: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, address, body))
        path, query = urlsplit(address).path, parse_qs(urlsplit(address).query)
        if (method, path) == ("GET", "/v1/meters"):
            return 200, {"data": [m for m in self.meters if m["code"] in query["code"]], "next_cursor": None}
        if (method, path) == ("POST", "/v1/meters"):
            self.meters.append({**WASHES, **body})
            return 201, body
        if path == "/v1/catalog-export":
            return 200, {"perennial_catalog": 1, "features": [{"code": "washes", "meter": "washes"}]}
        return self.imports.pop(0)

    def told(self, path: str) -> list[str]:
        return [f"{method} {address}" for method, address, _ in self.asked if address.startswith(path)]


@pytest.fixture
def deployment() -> Iterator[Standing]:
    standing = Standing()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET", None)

        def do_POST(self) -> None:
            self._answer("POST", json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, method: str, sent: Any) -> None:
            status, body = standing.answer(method, self.path, sent)
            content = json.dumps(body).encode()
            self.send_response(status)
            kind = "application/problem+json" if status >= 400 else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    standing.url = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield standing
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "laundry.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def run(*words: str | Path, **environment: str) -> Any:
    variables = {"PERENNIAL_URL": "http://127.0.0.1:1", "PERENNIAL_TOKEN": "a.b.c"} | environment
    result = CliRunner().invoke(app, ["catalog", *map(str, words)], env=variables)
    assert "Traceback" not in result.output
    return result


def at(deployment: Standing, *words: str | Path) -> Any:
    return run(*words, PERENNIAL_URL=deployment.url)


def test_nothing_would_change_is_zero_and_something_is_two(deployment: Standing, file: Path) -> None:
    deployment.meters = [WASHES]
    deployment.imports = [(200, NOTHING), (200, SOMETHING)]
    same, other = at(deployment, "diff", file), at(deployment, "diff", file, "--prune")
    assert (same.exit_code, same.stdout) == (0, "Nothing changes.\n")
    assert (other.exit_code, other.stdout) == (2, "plans\n  + laundry  is new\n1 to create.\n")
    assert deployment.told("/v1/catalog-imports") == [
        "POST /v1/catalog-imports?dry_run=true&prune=false",
        "POST /v1/catalog-imports?dry_run=true&prune=true",
    ]


def test_what_is_wrong_is_told_with_the_line_of_the_file(deployment: Standing, file: Path) -> None:
    errors = [
        {"pointer": "/plans/0/interval", "detail": "is required"},
        {"pointer": "/meters/0/unit", "detail": "must be a string"},
        {"pointer": "", "detail": "holds too much"},
    ]
    deployment.imports = [(422, {"code": "catalog_invalid", "detail": "3 faults", "errors": errors})]
    result = at(deployment, "diff", file)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{file}:1: holds too much",
        f"{file}:3: /meters/0/unit must be a string",
        f"{file}:7: /plans/0/interval is required",
        f"perennial: {file}: 3 faults; nothing was changed",
    ]


def test_a_refusal_without_places_is_told_in_its_own_words(deployment: Standing, file: Path) -> None:
    deployment.imports = [(403, {"detail": "this needs the scope catalog:write", "remedy": "Ask for it."})]
    result = at(deployment, "apply", file)
    assert result.exit_code == 1
    assert "this needs the scope catalog:write" in result.stderr
    assert "Ask for it." in result.stderr


def test_a_meter_that_is_defined_otherwise_is_told_before_anything_is_done(
    deployment: Standing, file: Path
) -> None:
    deployment.meters = [{**WASHES, "aggregation": "sum", "value": "/n"}]
    deployment.imports = [(200, SOMETHING)]
    result = at(deployment, "apply", file)
    assert result.exit_code == 1
    assert f"{file}:5: /meters/0/aggregation the meter washes is defined already" in result.stderr
    assert len(deployment.asked) == 2


def test_applying_defines_the_meters_and_waits_until_the_catalog_has_heard_of_them(
    deployment: Standing, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.cli.catalog.PAUSE_S", 0.01)
    early = (422, {"code": "catalog_meter_unknown", "detail": "1 fault"})
    deployment.imports = [(200, SOMETHING), early, early, (200, SOMETHING)]
    result = at(deployment, "apply", file)  # nobody to ask: standard input is no terminal
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "Applied: 1 to create."
    assert deployment.meters == [WASHES]
    assert (
        deployment.told("/v1/catalog-imports")[1:]
        == ["POST /v1/catalog-imports?dry_run=false&prune=false"] * 3
    )


def test_where_nothing_would_change_nothing_is_applied(deployment: Standing, file: Path) -> None:
    deployment.meters = [WASHES]
    deployment.imports = [(200, NOTHING)]
    result = at(deployment, "apply", file)
    assert (result.exit_code, result.stdout) == (0, "Nothing changes.\n")
    assert not deployment.imports


@pytest.mark.parametrize(("reply", "exit_code"), [("y", 0), ("n", 1), ("", 1)])
def test_somebody_at_a_terminal_is_asked(
    deployment: Standing, file: Path, monkeypatch: pytest.MonkeyPatch, reply: str, exit_code: int
) -> None:
    monkeypatch.setattr("libs.cli.catalog.is_somebody_there", lambda: True)
    deployment.meters = [WASHES]
    deployment.imports = [(200, SOMETHING), (200, SOMETHING)]
    variables = {"PERENNIAL_URL": deployment.url, "PERENNIAL_TOKEN": "a.b.c"}
    result = CliRunner().invoke(app, ["catalog", "apply", str(file)], input=f"{reply}\n", env=variables)
    assert result.exit_code == exit_code
    assert len(deployment.imports) == (0 if reply == "y" else 1)


def test_an_export_holds_the_meters_that_it_names(deployment: Standing, tmp_path: Path) -> None:
    deployment.meters = [{**WASHES, "unit": "wash"}]
    shown = at(deployment, "export")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(
        "perennial_catalog: 1\nmeters:\n  - code: washes\n    event_type: wash.ended\n"
    )
    assert at(deployment, "export", tmp_path / "all.json").exit_code == 0
    told = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert list(told) == ["perennial_catalog", "meters", "features"]
    assert told["meters"] == [
        {"code": "washes", "event_type": "wash.ended", "aggregation": "count", "unit": "wash"}
    ]


def test_a_file_that_cannot_be_read_is_an_error_and_no_change(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("perennial_catalog: 1\nplans: []\nplans: []\n", encoding="utf-8")
    twice = run("diff", path)
    assert (twice.exit_code, twice.stderr) == (
        1,
        f"{path}:3: the key plans stands on line 2 already: leave one of the two out\n",
    )
    assert run("diff", tmp_path / "missing.yaml").exit_code == 1
    assert run("diff", tmp_path).exit_code == 1


@pytest.mark.parametrize("words", ["diff", "diff x --nope", "apply", "export a b"])
def test_a_command_that_is_written_wrongly_is_an_error_and_no_change(words: str) -> None:
    assert run(*words.split()).exit_code == 1


def test_where_nobody_answers_it_is_an_error_and_no_change(file: Path) -> None:
    result = run("diff", file)
    assert result.exit_code == 1
    assert "PERENNIAL_URL" in result.stderr


def test_the_token_is_the_tenants_or_the_given_one_or_the_sandboxs(
    deployment: Standing, file: Path, tmp_path: Path
) -> None:
    def diff(*words: str, token: str) -> Any:
        folder = {"PERENNIAL_VAR_FOLDER": str(tmp_path), "PERENNIAL_TOKEN": token}
        return run("diff", file, *words, PERENNIAL_URL=deployment.url, **folder)

    deployment.meters = [WASHES]
    deployment.imports = [(200, NOTHING)] * 3
    none = diff(token="")
    assert none.exit_code == 1
    assert "--tenant" in none.stderr
    (tmp_path / "sandbox-token").write_text("d.e.f", encoding="ascii")
    assert diff(token="").exit_code == 0
    assert diff(token="a.b.c").exit_code == 0
    KeyFile.create(tmp_path / "keys.json")
    assert diff("--tenant", "00000000-0000-4000-8000-000000000001", token="a.b.c").exit_code == 0
    assert diff("--tenant", "me", token="a.b.c").exit_code == 1


def test_a_change_is_shown_with_what_is_otherwise_and_without_what_stays() -> None:
    change = {"words": "the price washes in EUR: the unit amount goes from 0.95 to 1, 5.26 % more"}
    plan = {
        "things": [
            {**THING, "action": "update", "words": "changes, on sale as version 2", "changes": [change]},
            {**THING, "kind": "coupon", "code": "old", "action": "archive", "words": "is archived"},
            {**THING, "kind": "product", "code": "same", "action": "unchanged", "words": "stays as it is"},
        ],
        "words": "1 to update, 1 to archive, 1 unchanged.",
    }
    assert [line.plain for line in lines_of(plan)] == [
        "plans",
        "  ~ laundry  changes, on sale as version 2",
        "      the price washes in EUR: the unit amount goes from 0.95 to 1, 5.26 % more",
        "coupons",
        "  - old  is archived",
        "1 to update, 1 to archive, 1 unchanged.",
    ]

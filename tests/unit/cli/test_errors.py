"""Whoever types something wrong, or asks where nobody is, reads one line and what to do, never a stack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.cli.main import app
from libs.common.access.keys import KeyFile

NOBODY = "http://127.0.0.1:1"


def says(folder: Path, *words: str, **environment: str) -> str:
    """What is said on standard error; the exit code is that of an error."""
    variables = {"PERENNIAL_VAR_FOLDER": str(folder), "PERENNIAL_URL": NOBODY} | environment
    result = CliRunner().invoke(app, list(words), env=variables)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    KeyFile.create(tmp_path / "keys.json")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    ["audit", "dead-letters list", "dead-letters redrive --service billing", "replay billing", "keys rotate"],
)
def test_without_a_key_file_it_says_which_one_it_looked_for(tmp_path: Path, command: str) -> None:
    told = says(tmp_path, *command.split())
    assert str(tmp_path / "keys.json") in told
    assert "Make one first" in told


def test_a_key_file_that_others_may_read_is_not_used(folder: Path) -> None:
    (folder / "keys.json").chmod(0o644)
    assert "Set its mode to 0600" in says(folder, "token", "--operate")


def test_a_key_file_that_is_none_is_named(folder: Path) -> None:
    (folder / "keys.json").write_text("{}")
    assert "key" in says(folder, "token", "--operate")


@pytest.mark.parametrize("command", ["audit", "dead-letters list", "replay billing"])
def test_where_nobody_answers_it_says_where_and_how_to_name_another_place(folder: Path, command: str) -> None:
    told = says(folder, *command.split())
    assert NOBODY in told
    assert "PERENNIAL_URL" in told


@pytest.mark.parametrize("url", ["nonsense", "http://[::", "http://x:99999999", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_said_to_be_none(folder: Path, url: str) -> None:
    assert "PERENNIAL_URL" in says(folder, "audit", PERENNIAL_URL=url)


@pytest.mark.parametrize("token", ["é", "a b\nc"])
def test_a_token_that_cannot_be_one_is_not_sent(folder: Path, token: str) -> None:
    assert "PERENNIAL_TOKEN" in says(folder, "audit", PERENNIAL_TOKEN=token)


@pytest.mark.parametrize(
    "command", ["dead-letters list --service blling", "replay blling", "dead-letters show x --service all"]
)
def test_a_service_that_there_is_not_is_answered_with_those_that_there_are(
    folder: Path, command: str
) -> None:
    assert "catalog, subscriptions, metering, billing" in " ".join(says(folder, *command.split()).split())


@pytest.mark.parametrize(
    "command", ["token --days 0", "token --operate --days 100", "token", "token --scope everything"]
)
def test_a_token_that_may_not_be_is_not_signed(folder: Path, command: str) -> None:
    assert says(folder, *command.split())


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server that is something else: it answers everything with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


def test_another_server_is_recognised_as_a_stranger(folder: Path, stranger: str) -> None:
    assert "is not Perennial" in says(folder, "audit", PERENNIAL_URL=stranger)

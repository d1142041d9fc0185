"""`perennial simulate`: every example, line by line and explained; and what it says when something is wrong."""

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
from libs.common.errors import InvalidInput
from services.billing.application.check_simulation import check_simulation
from services.billing.application.simulate_prices import simulate_prices
from services.billing.application.simulation_request import Supposed
from services.billing.entrypoints.simulated_bodies import PriceSimulationBody
from services.billing.entrypoints.simulation_bodies import NewPriceSimulationBody

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
LIGHT = str(EXAMPLES / "light-as-a-service.yaml")


def answer_to(body: Any) -> tuple[int, Any]:
    """As billing answers where everything is given as a draft: nothing is looked up."""
    command = NewPriceSimulationBody.model_validate(body).to_command()
    plans = tuple(candidate.draft for candidate in command.candidates if candidate.draft is not None)
    if len(plans) < len(command.candidates):
        unknown = [{"pointer": "/candidates/0/plan", "detail": "there is no such plan version"}]
        return 404, {"detail": "not found", "remedy": "Publish it.", "errors": unknown}
    try:
        check_simulation(command)
        simulated = simulate_prices(Supposed(command, plans, None))
    except InvalidInput as refused:
        return 422, {"detail": refused.message, "errors": list(refused.errors)}
    return 200, PriceSimulationBody.from_domain(simulated).model_dump(mode="json")


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A deployment that simulates; what it was asked."""
    bodies: list[Any] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            status, told = answer_to(bodies[-1])
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
    yield bodies
    server.shutdown()
    server.server_close()


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["simulate", *arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_is_simulated_and_explained(file: Path, asked: list[Any]) -> None:
    code, told = run(str(file), "--start", "2026-03-01", "--periods", "2")
    assert code == 0, told
    plans = [candidate["draft"]["code"] for candidate in asked[0]["candidates"]]
    assert plans
    for plan in plans:
        assert f"({plan}, draft)" in told
    assert " is priced " in told


def test_there_are_seven_examples() -> None:
    assert len(FILES) == 7


def test_light_as_a_service() -> None:
    code, told = run(
        LIGHT, "--start", "2026-03-01", "--zone", "Europe/Amsterdam",
        "--quantity", "luminaires=400", "--usage", "light-delivered=85000",
    )  # fmt: skip
    assert code == 0, told
    for words in ("1,280.00", "357.00", "63.00", "1,700.00", "Short of the quantity committed to: used"):
        assert words in told
    assert "100000 - 85000 = 15000" in told


def test_plans_are_compared_where_several_are_named(asked: list[Any]) -> None:
    file = str(EXAMPLES / "phone-upgrade-programme.yaml")
    code, told = run(file, "--plan", "phone-999", "--plan", "phone-1099", "--no-explain")
    assert code == 0, told
    assert "phone-1099: 4.17 EUR more than the first." in told
    assert " is priced " not in told
    assert [candidate["draft"]["code"] for candidate in asked[0]["candidates"]] == ["phone-999", "phone-1099"]


def test_what_is_published_is_asked_for_by_code_and_number(asked: list[Any]) -> None:
    code, told = run(
        "--plan", "light@2", "--plan", "light", "--subscription", "sub_" + "0" * 26, "--period", "3"
    )
    assert code == 2
    assert asked[0]["candidates"] == [{"plan": "light", "number": 2}, {"plan": "light"}]
    assert asked[0]["usage_of"] == {"subscription_id": "sub_" + "0" * 26, "period_index": 3}
    assert "404 not found" in told
    assert "/candidates/0/plan: there is no such plan version" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a plan with --plan"),
        (["--plan", "light@two"], "light@two is not written as code@number"),
        ([LIGHT, "--quantity", "luminaires"], "luminaires is not written as name=quantity"),
        ([LIGHT, "--plan", "dark"], "has no plan dark"),
        ([LIGHT, "--usage", "dark=1"], "/usage/0/meter: no candidate has a usage price of the meter dark"),
        (["nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments: list[str], words: str) -> None:
    code, told = run(*arguments)
    assert code == 2
    assert words in told
    assert "Traceback" not in told

"""The seven offerings as files: applied to what `make run` starts, twice; exported, changed, and made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner

from libs.cli.main import app
from tests.support.one_process import OneProcess, one_process

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "examples").glob("*.yaml"))
OFFERINGS = {
    "car-subscription",
    "engines-by-the-minute",
    "furniture-subscription",
    "light-as-a-service",
    "pay-per-wash",
    "phone-upgrade-programme",
    "software-seats",
}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneProcess]:
    with one_process(tmp_path_factory.mktemp("catalog-files") / "log") as process:
        process.start()
        yield process


class Perennial:
    """The command line, asking one process; the token is the sandbox's, unless a tenant is named."""

    def __init__(self, process: OneProcess) -> None:
        self._surroundings = {
            "PERENNIAL_URL": process.base_url,
            "PERENNIAL_VAR_FOLDER": str(process.folder),
            "PERENNIAL_TOKEN": "",
        }

    def __call__(self, *words: str | Path, expecting: int = 0) -> Any:
        done = CliRunner().invoke(app, ["catalog", *map(str, words)], env=self._surroundings)
        assert done.exit_code == expecting, done.output
        return done


@pytest.fixture(scope="module")
def perennial(process: OneProcess) -> Perennial:
    return Perennial(process)


@pytest.fixture(scope="module")
def applied(perennial: Perennial) -> dict[str, str]:
    """What was said when each file was applied for the first time."""
    return {file.stem: perennial("apply", file).stdout for file in FILES}


def test_each_offering_is_applied_and_the_second_time_nothing_changes(
    perennial: Perennial, applied: dict[str, str], process: OneProcess
) -> None:
    assert applied.keys() == OFFERINGS
    assert all("\nApplied: " in told for told in applied.values())
    with process.client() as client:
        before = everything_in(client)
    for file in FILES:
        assert perennial("diff", file).stdout == "Nothing changes.\n"
        assert perennial("apply", file).stdout == "Nothing changes.\n"
    with process.client() as client:
        assert everything_in(client) == before
        codes = {plan["code"]: plan for plan in before["/v1/plans"]}
        assert {plan["published_number"] for plan in codes.values()} == {1}
        light = codes["light-as-a-service"]["draft"]
    assert [price["unit_amount"] for price in light["prices"]] == ["3.2", "0.0042"]
    assert light["commitments"][0]["minimum_quantity"] == "100000"


def test_an_export_of_all_changes_nothing_and_makes_the_same_catalog_elsewhere(
    perennial: Perennial, applied: dict[str, str], process: OneProcess, tmp_path: Path
) -> None:
    everything = tmp_path / "everything.yaml"
    perennial("export", everything)
    assert perennial("diff", everything, "--prune").stdout == "Nothing changes.\n"
    tenant = ["--tenant", a_tenant(process)]
    perennial("diff", everything, *tenant, expecting=2)
    perennial("apply", everything, *tenant)
    assert perennial("export", *tenant).stdout == everything.read_text(encoding="utf-8")
    for file in FILES:
        assert perennial("diff", file, *tenant).stdout == "Nothing changes.\n"
    as_json = tmp_path / "everything.json"
    perennial("export", as_json)
    assert perennial("diff", as_json).stdout == "Nothing changes.\n"
    assert len(json.loads(as_json.read_text(encoding="utf-8"))["meters"]) == 4


def test_what_a_changed_file_would_change_is_shown_and_then_done(
    perennial: Perennial, applied: dict[str, str], process: OneProcess, tmp_path: Path
) -> None:
    changed = tmp_path / "light.yaml"
    text = (ROOT / "examples" / "light-as-a-service.yaml").read_text(encoding="utf-8")
    changed.write_text(
        text.replace("unit_amount: 3.20", "unit_amount: 3.28").replace("0.0042", "0.004305"), encoding="utf-8"
    )
    tenant = ["--tenant", a_tenant(process)]
    perennial("apply", ROOT / "examples" / "light-as-a-service.yaml", *tenant)
    shown = perennial("diff", changed, *tenant, expecting=2).stdout
    assert shown == (
        "plans\n"
        "  ~ light-as-a-service  changes, on sale as version 2\n"
        "      the price luminaires in EUR: the unit amount goes from 3.2 to 3.28, 2.5 % more\n"
        "      the price light in EUR: the unit amount goes from 0.0042 to 0.004305, 2.5 % more\n"
        "1 to update, 3 unchanged.\n"
    )
    assert perennial("apply", changed, *tenant).stdout == f"{shown}Applied: 1 to update, 3 unchanged.\n"
    assert perennial("diff", changed, *tenant).stdout == "Nothing changes.\n"


def test_everything_wrong_with_a_file_is_told_with_its_line(
    perennial: Perennial, applied: dict[str, str], process: OneProcess, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    text = (ROOT / "examples" / "pay-per-wash.yaml").read_text(encoding="utf-8")
    wrong.write_text(
        text.replace("included_quantity", "included_quantty").replace("meter: washes", "meter: cycles"),
        encoding="utf-8",
    )
    lines = {
        name: [n for n, line in enumerate(text.splitlines(), 1) if name in line]
        for name in ("included_quantity", "meter: washes")
    }
    told = perennial("apply", wrong, expecting=1).stderr.splitlines()
    assert told[0].startswith(f"{wrong}:{lines['meter: washes'][0]}: /features/0/meter ")
    assert told[1] == (
        f"{wrong}:{lines['included_quantity'][0]}: /plans/0/prices/1/included_quantty "
        "is not a field of this body: did you mean included_quantity?"
    )
    assert told[2:] == [f"perennial: {wrong}: 2 faults; nothing was changed"]
    with process.client() as client:
        assert not client.get("/v1/meters", params={"code": "cycles"}).json()["data"]


def everything_in(client: httpx.Client) -> dict[str, Any]:
    """All that an import could have made or changed."""
    paths = ("/v1/products", "/v1/features", "/v1/plans", "/v1/coupons", "/v1/meters")
    return {path: client.get(path, params={"limit": "200"}).json()["data"] for path in paths}


def a_tenant(process: OneProcess) -> str:
    """A new one, by its id."""
    tenant = str(uuid4())
    with process.client(process.operator_token()) as operator:
        body = {"id": tenant, "name": "Another", "mode": "sandbox"}
        assert operator.post("/v1/tenants", json=body).status_code == 201
    return tenant

"""Lifecycle cases on one process with all services, side by side; and the command that runs every area."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cases.case_files import AREAS, FOLDER, Case, cases_of
from tests.cases.running import Outcome, run_cases, why_not
from tests.cases.server import SharedServer

ROOT = Path(__file__).parents[2]
SUMMARY = re.compile(r"[a-z]+: \d+ passed, \d+ failed, \d+ unsupported")
SUPPORTED = [case for case in cases_of("lifecycle") if why_not(case) is None]
SHORT_FORM = 2  # in which each second case is played
ONE = "lifecycle-killbill-699ab062"


@pytest.fixture(scope="module")
def outcomes(shared_server: SharedServer, request: pytest.FixtureRequest) -> Mapping[str, Outcome]:
    """Of the cases that this run asks for, all played at once."""
    asked = {item.name for item in request.session.items}
    cases = [case for case in SUPPORTED if f"test_case[{case.id}]" in asked]
    return {outcome.case.id: outcome for outcome in run_cases(cases)}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id, marks=[pytest.mark.long] if place % SHORT_FORM else [])
        for place, case in enumerate(SUPPORTED)
    ],
)
def test_case(case: Case, outcomes: Mapping[str, Outcome]) -> None:
    assert list(outcomes[case.id].told) == [], case.notes


def test_nearly_every_lifecycle_case_runs() -> None:
    counted = cases_of("lifecycle")
    assert len(counted) >= 23
    assert len(counted) - len(SUPPORTED) <= len(counted) * 15 // 100


@pytest.mark.long  # it starts a process of its own
def test_the_command_runs_every_area(tmp_path: Path) -> None:
    """With one lifecycle case, for which it starts the services by itself."""
    for area in AREAS:
        cases = json.loads((FOLDER / f"{area}.json").read_text(encoding="utf-8"))
        kept = [case for case in cases if area != "lifecycle" or case["id"] == ONE]
        (tmp_path / f"{area}.json").write_text(json.dumps(kept), encoding="utf-8")
    command = [sys.executable, "-m", "tests.cases", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=400)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(":")[0] for line in lines[: len(AREAS)]] == list(AREAS)
    assert all(SUMMARY.fullmatch(line) for line in lines[: len(AREAS)])
    assert lines[len(AREAS) - 1] == "lifecycle: 1 passed, 0 failed, 0 unsupported"
    assert not any(line.startswith("failed ") for line in lines)

"""Aggregation cases on one process with all services, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.cases.case_files import Case, cases_of
from tests.cases.running import Outcome, run_cases, why_not
from tests.cases.server import SharedServer

CASES = cases_of("aggregation")
SUPPORTED = [case for case in CASES if why_not(case) is None]


@pytest.fixture(scope="module")
def outcomes(shared_server: SharedServer) -> Mapping[str, Outcome]:
    return {outcome.case.id: outcome for outcome in run_cases(SUPPORTED)}


@pytest.mark.parametrize("case", SUPPORTED, ids=lambda case: case.id)
def test_case(case: Case, outcomes: Mapping[str, Outcome]) -> None:
    assert list(outcomes[case.id].told) == [], case.notes


def test_nearly_every_aggregation_case_runs() -> None:
    assert (len(CASES) - len(SUPPORTED)) * 10 <= len(CASES)

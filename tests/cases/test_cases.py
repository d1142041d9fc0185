"""Cases of other billing systems, each under the convention that it names, wherever it is ours too."""

import pytest

from tests.cases.case_files import AREAS, Case, cases_of
from tests.cases.running import SERVED, failures, why_not

SUPPORTED = [case for area in AREAS if area not in SERVED for case in cases_of(area) if why_not(case) is None]


def _name(case: Case) -> str:
    rules = "; ".join(f"{name}: {phrase}" for name, phrase in case.convention.items())
    return f"{case.id} [{rules}]" if rules else case.id


@pytest.mark.parametrize("case", SUPPORTED, ids=lambda case: case.id)
def test_case(case: Case) -> None:
    assert list(failures(case)) == [], _name(case)


def test_nearly_every_pricing_case_runs() -> None:
    cases = cases_of("pricing")
    refused = [case for case in cases if why_not(case) is not None]
    assert len(refused) * 20 <= len(cases)


@pytest.mark.parametrize(("area", "at_least"), [("periods", 225), ("proration", 137), ("invoices", 58)])
def test_the_other_areas_do_not_lose_what_runs(area: str, at_least: int) -> None:
    assert sum(case.area == area for case in SUPPORTED) >= at_least


def test_no_two_cases_have_the_same_id() -> None:
    ids = [case.id for area in AREAS for case in cases_of(area)]
    assert len(set(ids)) == len(ids)

"""Cases of other billing systems, run under the convention that each names, wherever it is ours too."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from libs.common.errors import DomainError
from tests.cases import invoices, periods, pricing, proration
from tests.cases.case_files import AREAS, Case, cases_of
from tests.cases.comparison import assert_as_expected
from tests.cases.not_offered import AREAS as AREAS_NOT_OFFERED
from tests.cases.not_offered import IDS_BY_REASON, KINDS, NOT_OFFERED

RUNNERS: Mapping[str, Mapping[str, Callable[[Case], Mapping[str, Any]]]] = {
    "pricing": pricing.RUNNERS,
    "periods": periods.RUNNERS,
    "proration": proration.RUNNERS,
    "invoices": invoices.RUNNERS,
}
ALL = [case for area in AREAS for case in cases_of(area)]


def why_not(case: Case) -> str | None:
    """Why a case does not run; None when it does."""
    return AREAS_NOT_OFFERED.get(case.area) or KINDS.get((case.area, case.kind)) or NOT_OFFERED.get(case.id)


RUNNABLE = [case for case in ALL if why_not(case) is None]
LISTED_ALONE = [case for case in ALL if case.id in NOT_OFFERED]


@pytest.mark.parametrize("case", RUNNABLE, ids=lambda case: case.id)
def test_case(case: Case) -> None:
    assert_as_expected(case, RUNNERS[case.area][case.kind](case))


@pytest.mark.parametrize("case", LISTED_ALONE, ids=lambda case: case.id)
def test_no_case_is_listed_that_would_pass(case: Case) -> None:
    """A case that begins to pass leaves the list. What is not offered stops the translation, or differs."""
    with pytest.raises((AssertionError, ValueError, DomainError)):
        assert_as_expected(case, RUNNERS[case.area][case.kind](case))


def test_every_case_runs_or_is_listed_with_a_reason() -> None:
    counts = Counter((case.area, why_not(case) is None) for case in ALL)
    for area in AREAS:
        print(f"{area}: {counts[area, True]} run, {counts[area, False]} not offered")
    reasons = Counter(why_not(case) for case in ALL if why_not(case))
    for reason, count in reasons.most_common():
        print(f"{count:5} {reason}")
    unaccounted = [case.id for case in RUNNABLE if case.kind not in RUNNERS[case.area]]
    assert unaccounted == []


def test_the_list_names_each_case_once_and_only_cases_there_are() -> None:
    listed = [case_id for case_ids in IDS_BY_REASON.values() for case_id in case_ids]
    assert len(listed) == len(set(listed)) == len(LISTED_ALONE)
    assert len({case.id for case in ALL}) == len(ALL)
    assert all(
        case.area not in AREAS_NOT_OFFERED and (case.area, case.kind) not in KINDS for case in LISTED_ALONE
    )
    kinds = {(case.area, case.kind) for case in ALL}
    assert set(KINDS) <= kinds
    assert not {(area, kind) for area, runners in RUNNERS.items() for kind in runners} & set(KINDS)

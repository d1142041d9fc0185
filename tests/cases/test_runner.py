"""What `python -m tests.cases` prints and returns, and what it decides by."""

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cases.__main__ import main
from tests.cases.case_files import AREAS, Case, cases_of
from tests.cases.comparison import AnyOf, AnyOrder, Approximately, is_same
from tests.cases.conventions import LATER, REFUSED
from tests.cases.running import RUNNERS, UNKNOWN_KIND, run_case, why_not

ONE_UNIT: dict[str, Any] = {
    "id": "pricing-made-1",
    "area": "pricing",
    "kind": "rate_quantity",
    "source": {"system": "made"},
    "given": {
        "currency": "EUR",
        "model": {"type": "per_unit", "unit_amount": "2.50"},
        "quantity": "3",
    },
    "expect": {"amount": "7.50"},
    "convention": {},
    "notes": "",
}
UNKNOWN = {**ONE_UNIT, "id": "pricing-made-2", "kind": "rate_by_the_moon"}
BROKEN = {**ONE_UNIT, "id": "pricing-made-3", "given": {}}
TIME_CONVERTED = {
    **ONE_UNIT,
    "id": "proration-made-1",
    "area": "proration",
    "kind": "plan_change",
    "given": {"currency": "USD", "old": {"amount": "30"}, "new": {"amount": "60"}},
    "expect": {"credit": "15.00"},
    "convention": {"proration": "unused money converted to days of the new plan, rounded up"},
}


def a_folder(path: Path, **areas: Any) -> Path:
    for area, cases in areas.items():
        (path / f"{area}.json").write_text(json.dumps(cases), encoding="utf-8")
    return path


def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, Sequence[str]]:
    status = main([str(folder)])
    return status, capsys.readouterr().out.splitlines()


def test_a_line_for_each_area_then_each_refusal_with_its_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = {**TIME_CONVERTED, "id": "proration-made-2"}
    a_folder(
        tmp_path,
        proration=[TIME_CONVERTED, again],
        pricing=[ONE_UNIT, UNKNOWN],
    )

    status, lines = run(tmp_path, capsys)

    assert status == 0
    assert lines[:2] == [
        "pricing: 1 passed, 0 failed, 1 unsupported",
        "proration: 0 passed, 0 failed, 2 unsupported",
    ]
    assert lines[2:4] == ["refused 1: pricing rate_by_the_moon", f"    {UNKNOWN_KIND}"]
    assert lines[4].startswith("refused 2: proration plan_change, proration: unused money ")


def test_a_wrong_expectation_is_a_failure_and_so_is_what_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**ONE_UNIT, "id": "pricing-made-4", "expect": {"amount": "7.49"}}
    a_folder(tmp_path, pricing=[ONE_UNIT, wrong, BROKEN])

    status, lines = run(tmp_path, capsys)

    assert status == 1
    assert lines[0] == "pricing: 1 passed, 2 failed, 0 unsupported"
    assert lines[1:3] == [
        "failed pricing-made-4 (pricing rate_quantity)",
        "    amount: expected 7.49, got 7.5",
    ]
    assert lines[3] == "failed pricing-made-3 (pricing rate_quantity)"
    assert "expected {'amount': '7.50'}, got " in lines[4]


def test_other_files_and_folders_are_let_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_folder(tmp_path, pricing=[ONE_UNIT])
    (tmp_path / "notes.json").write_text("not JSON", encoding="utf-8")
    (tmp_path / "README.md").write_text("# Cases", encoding="utf-8")
    (tmp_path / "more").mkdir()
    a_folder(tmp_path / "more", periods=["no case"])

    status, lines = run(tmp_path, capsys)

    assert (status, lines) == (0, ["pricing: 1 passed, 0 failed, 0 unsupported"])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[{", "cannot be read"),
        ('{"id": "x"}', "no array of cases"),
        ('["x"]', "case 1 is no object"),
        ('[{"id": "x", "kind": "rate_quantity", "expect": {}}]', "case 1 has no given"),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str, told: str
) -> None:
    (tmp_path / "pricing.json").write_text(written, encoding="utf-8")
    assert main([str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_a_folder_that_is_not_there_or_holds_no_area_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "absent")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "no file named after an area" in capsys.readouterr().err


@pytest.mark.parametrize("area", AREAS)
def test_only_kind_and_convention_decide_what_is_unsupported(area: str) -> None:
    for case in cases_of(area):
        another = replace(case, id="another", given={}, expect={"amount": "0"})
        assert why_not(another) == why_not(case)


def test_a_convention_never_heard_of_is_run() -> None:
    case = Case(
        ONE_UNIT["id"], "pricing", "rate_quantity", ONE_UNIT["given"], ONE_UNIT["expect"], {"moon": "waning"}
    )
    assert run_case(case).status == "passed"


def test_every_refusal_refuses_something_and_has_its_reason() -> None:
    every = [case for area in AREAS for case in cases_of(area)]
    refused = [why_not(case) for case in every]
    unused = [refusal for refusal in (*REFUSED, *LATER) if not any(refusal.covers(case) for case in every)]
    # Kinds that the schema has and the cases that come with these tests have not.
    assert {refusal.kind for refusal in unused} <= {"credit_application"}
    assert all(refusal.reason.endswith(".") for refusal in refused if refusal is not None)


def test_every_kind_has_a_runner_or_a_refusal() -> None:
    for area in AREAS:
        refused = {r.kind for r in (*REFUSED, *LATER) if r.area == area and r.convention is None}
        assert {case.kind for case in cases_of(area)} <= refused | set(RUNNERS[area])


@pytest.mark.parametrize(
    ("balance", "total", "due", "left"),
    [("100", "-50", "0", "150"), ("10", "50", "40", "0"), ("60", "50", "0", "10")],
)
def test_a_balance_pays_first_and_is_given_what_is_below_zero(
    balance: str, total: str, due: str, left: str
) -> None:
    given = {"currency": "USD", "balance": balance, "total": total}
    expect = {"due": due, "balance": left}
    assert run_case(Case("made", "invoices", "balance_application", given, expect, {})).status == "passed"


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ("10", 10, True),
        ("10.00", 10, True),
        ("10.01", 10, False),
        (None, 10, False),
        ("x", 10, False),
        ({"value": "0.67", "decimals": 2}, {"value": Fraction(2, 3)}, True),
        ({"value": "0.66", "decimals": 2}, {"value": Fraction(2, 3)}, False),
        (["1", "2"], [1, 2], True),
        (["1"], [1, 2], False),
        (["2", "1"], AnyOrder([1, 2]), True),
        (["2", "2"], AnyOrder([1, 2]), False),
        ("2", AnyOf([1, 2]), True),
        ("3", AnyOf([1, 2]), False),
        ({"a": "1"}, {"a": 1, "b": 2}, True),
        ({"a": "1", "c": "1"}, {"a": 1, "b": 2}, False),
        ("2000-01-01", Approximately(Fraction(1)), False),
    ],
)
def test_comparison(expected: object, found: object, same: bool) -> None:
    assert is_same(expected, found) is same

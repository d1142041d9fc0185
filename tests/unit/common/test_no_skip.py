"""Where everything must be there, a skipped test is a failed one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.conftest import NO_SKIP, pytest_runtest_makereport


def made_report(outcome: Any, **extra: Any) -> pytest.TestReport:
    """The report as it leaves the hook."""
    longrepr = ("test_x.py", 3, "Skipped: no Java here") if outcome == "skipped" else None
    report = pytest.TestReport(
        "test_x.py::test_x", ("test_x.py", 3, "test_x"), {}, outcome, longrepr, "call", **extra
    )
    hook: Generator[None, pytest.TestReport, pytest.TestReport] = pytest_runtest_makereport(None, None)  # type: ignore[arg-type]
    next(hook)
    try:
        hook.send(report)
    except StopIteration as stop:
        made: pytest.TestReport = stop.value
        return made
    raise AssertionError("the hook yields once")


def test_a_skip_stays_a_skip_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NO_SKIP, raising=False)
    assert made_report("skipped").outcome == "skipped"


def test_a_skip_fails_with_its_reason_where_skips_are_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_SKIP, "1")
    report = made_report("skipped")
    assert report.outcome == "failed"
    assert "no Java here" in str(report.longrepr)


def test_an_expected_failure_is_no_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_SKIP, "1")
    assert made_report("skipped", wasxfail="known").outcome == "skipped"
    assert made_report("passed").outcome == "passed"

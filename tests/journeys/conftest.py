"""A journey that fails shows what the separate processes said, if it went through any."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.support.fleet import live_fleets


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [("what the processes said", fleet.tails()) for fleet in live_fleets()]
    return report

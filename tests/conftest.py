"""What every test may use, and what no test run may hide."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio

from tests.support.kafka import kafka as kafka
from tests.support.postgres import PostgresForTests, running_postgres

NO_SKIP = "PERENNIAL_NO_SKIP"

# Where tests run side by side, those that start whole deployments follow one another, so that no two of them share
# two cores, and they come first, since they take longest. All others of one file stay together, and those of the
# folders named here, which share what is dear to make.
_TOGETHER = {
    "tests/journeys/security/": "security",
    "tests/journeys/": "deployments",
    "tests/integration/operations/": "deployments",
    "tests/integration/transport/": "deployments",
}
_FIRST = ("deployments", "security")
_NEEDS_A_DEPLOYMENT = frozenset({"kafka", "fleet", "process"})


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Whoever starts the run in the background has Ctrl-C ignored, and so would every process of the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresForTests]:
    """One server for the whole run; without fsync, since nothing of it is kept."""
    with running_postgres() as server:
        yield server


@pytest_asyncio.fixture
async def database(postgres: PostgresForTests) -> AsyncIterator[str]:
    """The SQLAlchemy address of an empty database of this test's own."""
    async with postgres.fresh_database() as dsn:
        yield dsn


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not getattr(config.option, "loadgroup", False):  # set in each of the processes that work side by side
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group_of(item)))
    items.sort(key=_rank_of)


def _group_of(item: pytest.Item) -> str:
    file = item.nodeid.split("::")[0]
    if _NEEDS_A_DEPLOYMENT & set(getattr(item, "fixturenames", ())):
        return "deployments"
    return next((group for folder, group in _TOGETHER.items() if file.startswith(folder)), file)


def _rank_of(item: pytest.Item) -> int:
    """Within a rank, the order of collection stays."""
    group = _group_of(item)
    return _FIRST.index(group) if group in _FIRST else len(_FIRST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A test that cannot run says why and is skipped; where everything must be there (in CI), that is a
    failure.

    A test that is expected to fail is not skipped: it ran.
    """
    if os.environ.get(NO_SKIP) == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{NO_SKIP}=1 forbids the skip: {reason}"

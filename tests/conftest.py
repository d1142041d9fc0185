"""What every test may use, and what no test run may hide."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from xdist.remote import Producer

from libs.common.serving.garbage import keep_what_is_built
from tests.cases.server import SERVER, SharedServer
from tests.support.kafka import kafka as kafka
from tests.support.postgres import PostgresForTests, running_postgres
from tests.support.side_by_side import Groups, by_rank

NO_SKIP = "PERENNIAL_NO_SKIP"

# In the short form, where a test does not say how often; the long one tries the usual hundred.
settings.register_profile("short", max_examples=40)

# For `make mutation`, in which the properties run a thousand times: fewer examples, the same ones each time.
settings.register_profile("mutation", max_examples=30, derandomize=True, deadline=None, database=None)


def pytest_configure(config: pytest.Config) -> None:
    """In the short form, what is tried does not depend on which modules other tests have loaded.

    Of those, Hypothesis takes numbers and texts to try: the same test would try this here, and something else there.
    """
    if config.option.markexpr == "not long":
        nothing = providers.Constants()  # type: ignore[attr-defined]
        providers._get_local_constants = lambda: nothing
        if not config.getoption("--hypothesis-profile"):
            settings.load_profile("short")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Whoever starts the run in the background has Ctrl-C ignored, and so would every process of the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresForTests]:
    """One server for the whole run; without fsync, since nothing of it is kept."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def shared_server() -> Iterator[SharedServer]:
    """One process with all services for the whole run; each test has customers and a clock of its own."""
    try:
        yield SERVER
    finally:
        SERVER.close()


@pytest_asyncio.fixture
async def database(postgres: PostgresForTests) -> AsyncIterator[str]:
    """The SQLAlchemy address of an empty database of this test's own."""
    async with postgres.fresh_database() as dsn:
        yield dsn


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    return Groups(config, log)


def pytest_collectstart() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    """Ten thousand tests are no garbage: the collector need not look through them again and again."""
    keep_what_is_built()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes side by side
        items[:] = by_rank(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured, for whoever reads the run: `record_property("figures", …)`."""
    for report in terminalreporter.getreports("passed"):
        for name, told in report.user_properties:
            if name == "figures":
                terminalreporter.section(report.nodeid, sep="-")
                terminalreporter.line(str(told))


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

"""Two tenants with a story each, and the operators' own, on one set of services for the whole folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from libs.common.telemetry.logs import JsonLines
from tests.journeys.security.routes import operations_of
from tests.journeys.security.story import hear_gateways, tell, tell_of_operators
from tests.journeys.security.world import World
from tests.support.all_services import AllServices, all_services
from tests.support.postgres import PostgresForTests


class LogLines(logging.Handler):
    """What would have been written, as it would have been written; from DEBUG on."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="package")
def log_lines() -> Iterator[LogLines]:
    handler = LogLines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="package")
def gateway_accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of accounts at gateways, in which nobody has any."""
    path = tmp_path_factory.mktemp("gateways") / "accounts.json"
    path.write_text("{}")
    return path


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def everything(
    postgres: PostgresForTests,
    log_lines: LogLines,
    gateway_accounts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[AllServices]:
    folder = tmp_path_factory.mktemp("security")
    environment = {
        "PERENNIAL_BILLING_MAIL_FOLDER": str(folder / "mail"),
        "PERENNIAL_BILLING_GATEWAY_ACCOUNTS_FILE": str(gateway_accounts),
    }
    async with all_services(postgres, folder=folder, environment=environment) as services:
        yield services


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def world(everything: AllServices, gateway_accounts: Path) -> World:
    alpha, beta, operators = await asyncio.gather(
        tell(everything, "alpha"), tell(everything, "beta"), tell_of_operators(everything)
    )
    await hear_gateways(everything, gateway_accounts, alpha, beta)
    return World(everything, operations_of(everything.services), alpha, beta, operators)

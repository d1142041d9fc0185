"""Two tenants with a story each, and the operators' own, on one set of services for the whole folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from libs.common.telemetry.logs import JsonLines
from tests.journeys.security.routes import operations_of
from tests.journeys.security.story import tell, tell_of_operators
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


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def everything(
    postgres: PostgresForTests, log_lines: LogLines, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AllServices]:
    folder = tmp_path_factory.mktemp("security")
    mails = {"PERENNIAL_BILLING_MAIL_FOLDER": str(folder / "mail")}
    async with all_services(postgres, folder=folder, environment=mails) as services:
        yield services


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def world(everything: AllServices) -> World:
    alpha, beta, operators = await asyncio.gather(
        tell(everything, "alpha"), tell(everything, "beta"), tell_of_operators(everything)
    )
    return World(everything, operations_of(everything.services), alpha, beta, operators)

"""A unit of work in memory, and a clock that stands still."""

from __future__ import annotations

import pytest

from tests.application.metering.memory import MemoryMeteringUnitOfWork
from tests.support.clocks import FixedClock


@pytest.fixture
def uow() -> MemoryMeteringUnitOfWork:
    return MemoryMeteringUnitOfWork()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()

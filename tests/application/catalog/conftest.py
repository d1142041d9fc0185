"""The catalog in memory, and a clock that stands still."""

from __future__ import annotations

import pytest

from tests.support.catalog import MemoryCatalog
from tests.support.clocks import FixedClock


@pytest.fixture
def uow() -> MemoryCatalog:
    return MemoryCatalog()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()

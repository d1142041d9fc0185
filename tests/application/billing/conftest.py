from __future__ import annotations

import pytest

from tests.support.billing import MemoryBilling, Story


@pytest.fixture
def uow() -> MemoryBilling:
    return MemoryBilling()


@pytest.fixture
def story() -> Story:
    return Story()

"""The small app and a client with a good token."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.unit.web.small_app import SmallApp, a_small_app


@pytest.fixture
def small(tmp_path: Path) -> SmallApp:
    return a_small_app(tmp_path)


@pytest.fixture
async def client(small: SmallApp) -> AsyncIterator[httpx.AsyncClient]:
    async with small.client() as client:
        yield client

"""Health: alive whatever happens, ready only when everything is there."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from libs.common.web import health
from tests.unit.web.small_app import a_small_app


async def all_there() -> dict[str, bool]:
    return {"database": True, "bus": True}


async def one_missing() -> dict[str, bool]:
    return {"database": True, "bus": False}


async def broken() -> dict[str, bool]:
    raise ConnectionRefusedError


async def hanging() -> dict[str, bool]:
    await asyncio.sleep(60)
    return {}


@pytest.mark.parametrize(
    ("readiness", "status"), [(all_there, 200), (one_missing, 503), (broken, 503), (hanging, 503)]
)
async def test_readiness(
    tmp_path: Path,
    readiness: Callable[[], Awaitable[dict[str, bool]]],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "READINESS_TIMEOUT_S", 0.05)
    async with a_small_app(tmp_path, readiness=readiness).client(token=None) as client:
        assert (await client.get("/health/ready")).status_code == status
        assert (await client.get("/health/live")).status_code == 200

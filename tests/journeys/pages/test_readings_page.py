"""docs/readings.md: every command in it can be run as it stands, and the quantities are those that it tells."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.metering.entrypoints.reading_bodies import CounterBody, MeterReadingCreateBody
from tests.journeys.pages.test_subscriptions_page import ROOT, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "readings.md").read_text(encoding="utf-8")
COMMAND = re.compile(
    r"^(?:(?P<name>[A-Z]+)=\$\()?(?P<words>api .*?)(?: \| jq -r (?P<path>[\w.\[\]]+)\))?$",
    re.MULTILINE | re.DOTALL,
)
CLOSED_WITHIN_S = 20.0


def commands() -> Iterator[tuple[str | None, str, str | None]]:
    """The variable that is set, the command, and what of the answer it is set to."""
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if block.startswith("api()"):
            continue
        for command in re.split(r"\n(?=api |[A-Z]+=)", block.strip()):
            match = COMMAND.fullmatch(command)
            assert match is not None, command
            yield match["name"], match["words"], match["path"]


def found_at(answer: Any, path: str) -> str:
    for step in re.findall(r"\w+", path):
        answer = answer[int(step) if step.isdigit() else step]
    return str(answer)


async def totals(client: httpx.AsyncClient, subscription: str) -> dict[str, dict[str, Any]]:
    """Of the periods that are over, by the month in which each began."""
    found = (await client.get("/v1/usage-windows", params={"subscription_id": subscription})).json()["data"]
    return {window["window_end"][:7]: window["totals"][0] for window in found if window["state"] == "closed"}


@pytest.mark.long  # months pass in it
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        known: dict[str, str] = {}
        async with everything.client(tenant) as client:
            for name, words, path in commands():
                answer = await run(client, words, known)
                if name is not None:
                    assert path is not None
                    known[name] = found_at(answer, path)
            async with asyncio.timeout(CLOSED_WITHIN_S):
                while "2026-06" not in (washes := await totals(client, known["WASHING"])):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            light = await totals(client, known["LIGHT"])
            corrected = (await client.get(f"/v1/meter-readings/{known['READING']}")).json()
    # The periods end at midnight in Amsterdam, which is the evening before in UTC.
    assert light["2026-03"]["quantity"] == "85000"
    assert corrected["state"] == "replaced"
    assert [washes[f"2026-0{month}"]["quantity"] for month in range(2, 7)] == ["16", "14", "18", "16", "9"]
    assert washes["2026-05"]["estimated_quantity"] == "16"
    [true_up] = washes["2026-06"]["true_ups"]
    assert (true_up["actual_quantity"], true_up["estimated_quantity"]) == ("25", "16")
    assert Decimal(washes["2026-06"]["estimated_quantity"]) == 0


def test_every_field_is_explained() -> None:
    for body in (CounterBody, MeterReadingCreateBody):
        assert [
            name for name in body.model_fields if f"`{name}`" not in PAGE and f'"{name}"' not in PAGE
        ] == []

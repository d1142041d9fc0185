"""docs/meters.md: every command in it can be run as it stands, and each kind of meter comes to what the page says."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

from services.metering.domain.meter import Aggregation
from services.metering.entrypoints.meter_bodies import BackFillBody
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "meters.md").read_text(encoding="utf-8")
FIRED_WITHIN_S = 20.0


@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    quantities: list[Decimal] = []
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        known: dict[str, str] = {}
        async with everything.client(tenant) as client:
            for name, words, field in commands(PAGE):
                answer = await run(client, words, known)
                if name is not None:
                    assert field is not None
                    known[name] = answer[field]
                if "/v1/usage?" in words:
                    quantities += [Decimal(row["quantity"]) for row in answer["data"]]
            path = f"/v1/usage-alerts/{known['ALERT']}/firings"
            async with asyncio.timeout(FIRED_WITHIN_S):  # the binding is on its way
                while not (fired := (await client.get(path)).json()["data"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
    assert quantities == [Decimal(told) for told in re.findall(r"\*([0-9.]+)\*", PAGE)]
    assert [(firing["mark"]["quantity"], firing["quantity"]) for firing in fired] == [("160", "195")]


def test_every_kind_of_meter_and_every_field_of_a_back_fill_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert {*get_args(Aggregation), *BackFillBody.model_fields} - explained == set()

"""docs/revenue.md: every command in it can be run as it stands, in its order, and shows what was done before."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import httpx
import pytest

from libs.common.ids import new_id
from tests.journeys.pages.test_subscriptions_page import commands
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "revenue.md").read_text(encoding="utf-8")


async def run(client: httpx.AsyncClient, words: str, known: dict[str, str]) -> tuple[str, httpx.Response]:
    """The path that was asked, and the answer."""
    for name, value in known.items():
        words = re.sub(rf"\${name}\b", value, words)
    _, method, path, *body = shlex.split(words)
    headers = {"idempotency-key": new_id("key"), "if-match": "*"}
    answer = await client.request(method, path, json=json.loads(body[0]) if body else None, headers=headers)
    assert answer.is_success, f"{words}: {answer.status_code} {answer.text}"
    return path.partition("?")[0], answer


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_shows_what_it_did(postgres: PostgresForTests, tmp_path: Path) -> None:
    known: dict[str, str] = {}
    told: dict[str, httpx.Response] = {}
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        async with everything.client(tenant) as client:
            for name, words, field in commands(PAGE):
                path, answer = await run(client, words, known)
                told[path] = answer
                if name is not None:
                    assert field is not None
                    known[name] = answer.json()[field]
    [euros] = told["/v1/revenue-movements"].json()["data"]
    assert [month["closing"]["amount"] for month in euros["months"]][:4] == ["300.00"] * 2 + ["420.00"] * 2
    assert [one["amount"]["amount"] for one in told["/v1/revenue-movements/entries"].json()["data"]] == [
        "120.00"
    ]
    assert "2025-03,EUR,300.00,0.00,0.00,120.00" in told["/v1/revenue-movements/csv"].text
    assert "Monthly recurring revenue in EUR" in told["/v1/revenue-movements/chart"].text
    standing = told[f"/v1/customer-standings/{known['CUSTOMER']}"].json()
    assert (standing["as_of"], standing["tenure_days"]) == ("2025-06-01", 151)

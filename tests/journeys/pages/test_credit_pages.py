"""docs/discounts.md, docs/wallets.md: every command can be run as it stands, and every setting is explained."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.billing.entrypoints.wallet_bodies import (
    NewGrantBody,
    NewTopUpBody,
    NewWalletBody,
    ScopeBody,
    TopUpRuleBody,
)
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

DISCOUNTS, WALLETS = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("discounts", "wallets")
)
BILLED_WITHIN_S = 20.0


async def run_page(client: httpx.AsyncClient, page: str) -> list[tuple[str, Any]]:
    """Each command, with its answer."""
    known: dict[str, str] = {}
    answers = []
    for name, words, field in commands(page):
        answer = await run(client, words, known)
        answers.append((words, answer))
        if name is not None:
            assert field is not None
            known[name] = answer[field]
    return answers


async def _discounts(client: httpx.AsyncClient, subscription: str, count: int) -> list[tuple[str, str]]:
    async with asyncio.timeout(BILLED_WITHIN_S):
        while True:
            found = await client.get("/v1/invoices", params={"subscription_id": subscription})
            if len(found.json()["data"]) == count:
                break
            await asyncio.sleep(0.1)
    told = []
    for each in sorted(found.json()["data"], key=lambda invoice: invoice["boundary_at"]):
        invoice = (await client.get(f"/v1/invoices/{each['id']}")).json()
        told.append((invoice["subtotal"]["amount"], invoice["discount"]["amount"]))
    return told


@pytest.mark.long  # months pass in it
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_pages_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    async with all_services(postgres, folder=tmp_path) as everything:
        async with everything.client(await everything.make_tenant()) as client:
            answers = await run_page(client, DISCOUNTS)
            made = next(answer for words, answer in answers if words.startswith("api POST /v1/subscriptions"))
            told = await _discounts(client, made["id"], 4)
        async with everything.client(await everything.make_tenant()) as client:
            shown = dict(await run_page(client, WALLETS))
    assert told == [("20.00", "20.00"), ("20.00", "6.50"), ("20.00", "2.00"), ("20.00", "0.00")]
    top_up = shown["api GET /v1/invoices/$TOPUP"]
    assert (top_up["net"]["amount"], top_up["tax"]["amount"]) == ("76.00", "15.96")
    assert shown["api GET /v1/wallets/$MONEY"]["balance"] == "65"


def test_every_setting_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", WALLETS)) | set(re.findall(r'"([a-z_]+)":', WALLETS))
    bodies = (NewWalletBody, NewGrantBody, NewTopUpBody, TopUpRuleBody, ScopeBody)
    assert {name for body in bodies for name in body.model_fields} - explained == set()

"""docs/billing-runs.md: every command in it can be run as it stands, and comes to what the page says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from services.billing.entrypoints.billing_run_bodies import (
    RunProgressBody,
    RunSettingsChangeBody,
    RunStateText,
)
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "billing-runs.md").read_text(encoding="utf-8")
DONE_WITHIN_S = 20.0


async def _finished(client: httpx.AsyncClient, path: str) -> None:
    async with asyncio.timeout(DONE_WITHIN_S):
        while (await client.get(path)).json()["state"] in ("counting", "running"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def told(invoice: dict[str, Any]) -> tuple[str, str, str]:
    return invoice["document_kind"], invoice["status"], invoice["net"]["amount"]


@pytest.mark.long  # months pass in it
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    invoices: list[list[dict[str, Any]]] = []
    runs: list[dict[str, Any]] = []
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        known: dict[str, str] = {}
        async with everything.client(tenant) as client:
            for name, words, field in commands(PAGE):
                answer = await run(client, words, known)
                if name is not None:
                    assert field is not None
                    known[name] = answer[field]
                if name in ("DRY", "RUN"):
                    await _finished(client, f"/v1/billing-runs/{known[name]}")
                if words.startswith("api GET /v1/invoices"):
                    invoices.append(answer["data"])
                if re.fullmatch(r"api GET /v1/billing-runs/\$[A-Z]+", words):
                    runs.append(answer)
            for invoice in (one for listed in invoices for one in listed):
                shown = (await client.get(f"/v1/invoices/{invoice['id']}")).json()
                assert {line["subscription_id"] for line in shown["lines"]} <= set(
                    invoice["subscription_ids"]
                )
                verified = await client.get(f"/v1/invoices/{invoice['id']}/verification")
                assert verified.json()["agrees"] is True, verified.text
    gathered, waiting, interim, last = invoices
    assert [told(one) for one in gathered] == [("invoice", "finalized", "600.00")]
    assert len(gathered[0]["subscription_ids"]) == 2
    assert [(told(one), one["waits_for"]) for one in waiting] == [
        (("invoice", "draft", "600.00"), ["billing_run"])
    ]
    dry, real = runs
    assert [(one["state"], one["invoice_count"]) for one in runs] == [("finished", 1)] * 2
    assert (dry["progress"]["counted"], real["progress"]["finalized"]) == (1, 1)
    assert dry["totals"] == real["totals"]
    assert [told(one) for one in interim] == [("interim", "finalized", "300.00")]
    (boundary,) = [one for one in last if one["document_kind"] == "invoice"]
    assert boundary["net"]["amount"] == "600.00"  # desks alone: all prints were invoiced before


def test_every_setting_state_and_count_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    fields = {*RunSettingsChangeBody.model_fields, *RunProgressBody.model_fields}
    assert {*fields, *get_args(RunStateText)} - explained == set()

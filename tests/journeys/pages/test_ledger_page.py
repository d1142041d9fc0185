"""docs/ledger.md: every command in it can be run as it stands, and every account and key is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.billing.domain.ledger_entry import ACCOUNTS
from services.billing.entrypoints.ledger_bodies import DeferredMonthBody
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")


@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    shown = {}
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        known: dict[str, str] = {}
        async with everything.client(tenant) as client:
            for name, words, field in commands(PAGE):
                answer = await run(client, words, known)
                if name is not None:
                    assert field is not None
                    known[name] = answer[field]
                shown[words] = answer
    balances = {
        row["account"]: row["balance"]["amount"]
        for row in shown['api GET "/v1/ledger-accounts?at=2031-06-30"']["data"]
    }
    assert balances == {
        "accounts_receivable": "1484.40",
        "contract_liability": "-650.96",
        "revenue": "-899.04",
        "sla_reduction": "65.60",
    }
    months = shown['api GET "/v1/revenue-schedules?from=2031-01-01&to=2031-07-01"']
    assert [row["month"] for row in months["data"]] == [f"2031-0{month}" for month in range(1, 7)]
    (remaining,) = months["remaining"]
    assert remaining["within_12_months"]["amount"] == "650.96"


def test_every_account_and_every_figure_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert {*ACCOUNTS, *DeferredMonthBody.model_fields} - {"month", "currency"} - explained == set()

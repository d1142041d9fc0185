"""docs/invoices.md: every command in it can be run as it stands, and every setting is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from services.billing.entrypoints.bodies import AwaitedText
from services.billing.entrypoints.profile_bodies import BillingProfileChangeBody
from services.billing.entrypoints.seller_bodies import SellerChangeBody
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "invoices.md").read_text(encoding="utf-8")
TOLD_ELSEWHERE = {"name", "address", "tax_number", "tax_rounding", "registrations"}


@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    shown = []
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        known: dict[str, str] = {}
        async with everything.client(tenant) as client:
            for name, words, field in commands(PAGE):
                answer = await run(client, words, known)
                if name is not None:
                    assert field is not None
                    known[name] = answer[field]
                if words == "api GET /v1/invoices/$DRAFT":
                    shown.append(answer)
    draft, issued = shown
    assert (draft["status"], draft["subtotal"]["amount"]) == ("draft", "541.00")
    assert (issued["status"], issued["purchase_order"]) == ("finalized", "PO-2026-117")
    assert re.fullmatch(r"F-20\d\d-000001", issued["number"])
    assert (issued["notes"], issued["seller"]["footer"]) == ("Thank you.", "Light Works BV, Delft")


def test_every_setting_and_whatever_is_waited_for_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    settings = {*SellerChangeBody.model_fields, *BillingProfileChangeBody.model_fields} - TOLD_ELSEWHERE
    assert {*settings, *get_args(AwaitedText)} - explained == set()

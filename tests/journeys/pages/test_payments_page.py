"""docs/payments.md: every command can be run as it stands, and every behaviour and setting is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from services.billing.adapters.sandbox_gateway import BEHAVIOURS
from services.billing.domain.payment import AttemptState
from services.billing.entrypoints.payment_method_bodies import NewPaymentMethodBody
from services.billing.settings import BillingSettings
from tests.journeys.pages.test_credit_pages import run_page
from tests.journeys.pages.test_subscriptions_page import ROOT
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "payments.md").read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    async with (
        all_services(postgres, folder=tmp_path) as everything,
        everything.client(await everything.make_tenant()) as client,
    ):
        answers = dict(await run_page(client, PAGE))
    attempts = answers["api GET /v1/invoices/$INVOICE/payment-attempts"]["data"]
    assert [attempt["number"] for attempt in attempts] == [1]


def test_everything_is_explained() -> None:
    explained = set(re.findall(r"`([A-Za-z_]+)`", PAGE)) | set(re.findall(r'"([a-z_]+)":', PAGE))
    assert explained >= set(BEHAVIOURS)
    assert explained >= set(get_args(AttemptState))
    assert explained >= set(NewPaymentMethodBody.model_fields)
    for name in ("gateway_accounts_file", "stripe_url", "gateway_timeout_s", "gateway_calls_at_once"):
        assert BillingSettings.variable(name) in explained, name

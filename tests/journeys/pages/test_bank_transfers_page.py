"""docs/bank-transfers.md: every command can be run as it stands, and every field is explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from services.billing.adapters.bank_statement_csv import COLUMNS
from services.billing.entrypoints.bank_statement_bodies import EntryMatchBody
from services.billing.entrypoints.payment_bodies import NewPaymentBody, PaymentWayText
from tests.journeys.pages.test_credit_notes_page import all_commands
from tests.journeys.pages.test_subscriptions_page import ROOT
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "bank-transfers.md").read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    async with (
        all_services(postgres, folder=tmp_path) as everything,
        everything.client(await everything.make_tenant()) as client,
    ):
        answers = await all_commands(client, PAGE)
    invoice, statements, _, part, paid, rest, listed, reversal, reopened = answers[-9:]
    assert (invoice["payment_reference"][:2], statements["data"]) == ("RF", [])
    assert [one["unapplied"]["amount"] for one in (part, paid, rest)] == ["0.00", "41.10", "0.00"]
    assert len(listed["data"]) == 2
    assert (reversal["state"], reopened["status"], reopened["due"]["amount"]) == (
        "reversed",
        "finalized",
        "58.90",
    )


@pytest.mark.parametrize("body", [NewPaymentBody, EntryMatchBody])
def test_every_field_is_explained(body: type[BaseModel]) -> None:
    assert [name for name in body.model_fields if f"`{name}`" not in PAGE] == []


def test_every_column_and_way_is_explained() -> None:
    ways = PaymentWayText.__args__  # type: ignore[attr-defined]
    assert [word for word in (*COLUMNS, *ways) if f"`{word}`" not in PAGE and word != "gateway"] == []

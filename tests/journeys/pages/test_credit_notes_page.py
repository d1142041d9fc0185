"""docs/credit-notes.md and docs/deposits.md: every command can be run as it stands, and every field is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.billing.entrypoints.credit_note_bodies import (
    CreditSplitBody,
    LineCreditBody,
    NewCreditNoteBody,
)
from services.billing.entrypoints.deposit_bodies import NewDepositBody
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

CREDIT_NOTES = (ROOT / "docs" / "credit-notes.md").read_text(encoding="utf-8")
DEPOSITS = (ROOT / "docs" / "deposits.md").read_text(encoding="utf-8")


async def all_commands(client: httpx.AsyncClient, page: str) -> list[Any]:
    known: dict[str, str] = {}
    answers = []
    for name, words, field in commands(page):
        answers.append(await run(client, words, known))
        if name is not None:
            assert field is not None
            known[name] = answers[-1][field]
    return answers


@pytest.mark.long  # months pass in it
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_both_pages_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    async with all_services(postgres, folder=tmp_path) as everything:
        async with everything.client(await everything.make_tenant()) as client:
            notes = await all_commands(client, CREDIT_NOTES)
        async with everything.client(await everything.make_tenant()) as client:
            deposits = await all_commands(client, DEPOSITS)
    invoice, preview, first, rest = notes[3:7]
    assert [one["total"]["amount"] for one in (invoice, preview, first, rest)] == [
        "254.10",
        "25.41",
        "25.41",
        "228.69",
    ]
    assert [one["status"] for one in notes[-6:] if "status" in one] == [
        "finalized",
        "void",
        "draft",
        "finalized",
        "finalized",
        "uncollectible",
    ]
    assert (deposits[-3]["status"], deposits[-2]["state"]) == ("paid", "released")
    assert deposits[-1]["data"][0]["amount"] == {"amount": "440.00", "currency": "EUR"}


def test_every_field_is_explained() -> None:
    for bodies, page in (
        ((NewCreditNoteBody, LineCreditBody, CreditSplitBody), CREDIT_NOTES),
        ((NewDepositBody,), DEPOSITS),
    ):
        explained = set(re.findall(r"`([a-z_]+)`", page))
        assert {name for body in bodies for name in body.model_fields} - explained == set()

"""docs/e-invoices.md: every command can be run as it stands, and every field is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from services.billing.entrypoints.e_invoice_bodies import EInvoiceCheckBody, EInvoiceProblemBody
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.e_invoices import faults_of
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "e-invoices.md").read_text(encoding="utf-8")


@pytest.mark.long  # four services are started for it
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    known: dict[str, str] = {}
    files: dict[str, bytes] = {}
    checks: list[Any] = []
    async with (
        all_services(postgres, folder=tmp_path) as everything,
        everything.client(await everything.make_tenant()) as client,
    ):
        for name, words, field in commands(PAGE):
            command, _, file = words.partition(" > ")
            if file:
                path = re.sub(r"\$(\w+)", lambda found: known[found[1]], command.split()[2])
                answer = await client.get(path)
                assert answer.status_code == 200, answer.text
                files[file] = answer.content
                continue
            told = await run(client, words, known)
            if name is not None:
                assert field is not None
                known[name] = told[field]
            if words.endswith("/e-invoice-check"):
                checks.append(told)
    assert [check["profile"] for check in checks if check["can_be_made"]] == ["peppol", "peppol"]
    assert sorted(files) == ["invoice-cii.xml", "invoice-ubl.xml", "invoice.pdf", "note-ubl.xml"]
    assert files["invoice.pdf"].startswith(b"%PDF-")
    for file, content in files.items():
        assert file.endswith(".pdf") or faults_of(content) == []


def test_every_field_is_explained_and_every_sample_is_there() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    for body in (EInvoiceCheckBody, EInvoiceProblemBody):
        assert set(body.model_fields) - explained == set()
    samples = re.findall(r"\((samples/[^)]+)\)", PAGE)
    assert len(samples) == 5
    assert all((ROOT / "docs" / sample).is_file() for sample in samples)

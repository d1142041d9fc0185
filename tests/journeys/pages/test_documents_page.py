"""docs/documents.md: every command can be run as it stands, and every field of a statement is explained."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path

import pytest

from services.billing.entrypoints.customer_statement_bodies import (
    AgingBody,
    CustomerStatementBody,
    OverdueBody,
    StatedAccountBody,
    StatementEntryBody,
)
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests
from tests.support.sample_documents import LOGO_SVG

PAGE = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
LOGO = "'$(base64 -w0 logo.svg)'"


@pytest.mark.long  # four services are started for it
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    known: dict[str, str] = {}
    files: dict[str, bytes] = {}
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
            told = await run(client, words.replace(LOGO, b64encode(LOGO_SVG).decode()), known)
            if name is not None:
                assert field is not None
                known[name] = told[field]
    assert sorted(files) == ["invoice-nl.pdf", "invoice.pdf", "logo-back.svg", "note.pdf", "statement.pdf"]
    assert files.pop("logo-back.svg") == LOGO_SVG
    assert all(content.startswith(b"%PDF-1.7") for content in files.values())


def test_every_field_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    for body in (CustomerStatementBody, StatedAccountBody, StatementEntryBody, AgingBody, OverdueBody):
        assert set(body.model_fields) - explained == set()

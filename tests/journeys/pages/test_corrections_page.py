"""docs/corrections.md: every command in it can be run as it stands, and comes to what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "corrections.md").read_text(encoding="utf-8")


def told(invoices: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """In the order of their making, but for those on which nothing was owed."""
    invoices = sorted(invoices, key=lambda invoice: invoice["created_at"])
    return [(i["document_kind"], i["net"]["amount"]) for i in invoices if i["status"] != "skipped"]


@pytest.mark.long  # three months pass in it
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    found: list[list[dict[str, Any]]] = []
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        known: dict[str, str] = {}
        async with everything.client(tenant) as client:
            for name, words, field in commands(PAGE):
                answer = await run(client, words, known)
                if name is not None:
                    assert field is not None
                    known[name] = answer[field]
                if words.startswith("api GET /v1/invoices"):
                    found.append(answer["data"])
            details = [(await client.get(f"/v1/invoices/{one['id']}")).json() for one in found[2]]
    late, estimated, read, dearer = found
    assert told(late) == [("invoice", "900.00"), ("correction", "180.00")]
    assert told(estimated) == [("invoice", "7.60")]  # of March, which came late, and of April
    assert told(read) == [("invoice", "7.60"), ("invoice", "-2.85")]
    assert told(dearer) == [*told(late), ("change", "-120.00")]
    (june,) = [one for one in details if one["net"]["amount"] == "-2.85"]
    (line,) = june["lines"]
    assert (line["quantity"], line["unit_amount"], line["service_period"]["start"]) == (
        "-3",
        "0.95",
        "2026-04-01",
    )
    assert line["corrects_line_id"] in {other["id"] for one in details for other in one["lines"]}
    stated = re.findall(r"\*(-?[\d.]+)\*", PAGE.replace("**", ""))
    assert stated == ["180.00", "2.85", "-120.00"]

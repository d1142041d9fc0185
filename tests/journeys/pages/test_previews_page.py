"""docs/previews.md: every command in it can be run as it stands, after those that make what they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.subscriptions.entrypoints.preview_bodies import PreviewBody, SubscriptionPreviewBody
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "previews.md").read_text(encoding="utf-8")


@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        known: dict[str, str] = {}
        shown = []
        async with everything.client(tenant) as client:
            for name, words, field in commands():
                answer = await run(client, words, known)
                if name is not None:
                    assert field is not None
                    known[name] = answer[field]
                if name == "SUBSCRIPTION":
                    break
            for _, words, _ in commands(PAGE):
                shown.append(await run(client, words, known))
    assert len(shown) >= 7
    assert all(answer["documents"] for answer in shown[:3])


def test_every_field_of_a_preview_is_explained() -> None:
    for body in (SubscriptionPreviewBody, PreviewBody):
        assert [name for name in body.model_fields if f"`{name}`" not in PAGE] == []

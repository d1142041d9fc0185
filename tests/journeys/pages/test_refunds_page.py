"""docs/refunds.md: every command can be run as it stands, and every field is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from services.billing.domain.dispute import DisputeState
from services.billing.domain.refund import RefundState
from services.billing.entrypoints.refund_bodies import DisputeOutcomeBody, NewDisputeBody, NewRefundBody
from tests.journeys.pages.test_subscriptions_page import ROOT, commands, run
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

PAGE = (ROOT / "docs" / "refunds.md").read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    async with (
        all_services(postgres, folder=tmp_path) as everything,
        everything.client(await everything.make_tenant()) as client,
    ):
        known: dict[str, str] = {}
        answers: list[Any] = []
        for name, words, field in commands(PAGE):
            answers.append(await run(client, words, known))
            if name is not None:
                assert field is not None
                first, _, rest = field.partition("[0].")
                known[name] = answers[-1][first][0][rest] if rest else answers[-1][field]
    manual, _, paid, shown, _, reopened, lost, disputes = answers[-8:]
    assert [one["amount"]["amount"] for one in manual["data"]] == ["24.20"]
    assert (paid["state"], shown["paid_reference"]) == ("succeeded", "20260303-17")
    assert (reopened["status"], reopened["due"]["amount"]) == ("finalized", "96.80")
    assert (lost["state"], lost["taken"]["amount"]) == ("lost", "50.00")
    assert [one["id"] for one in disputes["data"]] == [lost["id"]]


@pytest.mark.parametrize("body", [NewRefundBody, NewDisputeBody, DisputeOutcomeBody])
def test_every_field_is_explained(body: type[BaseModel]) -> None:
    assert [name for name in body.model_fields if f"`{name}`" not in PAGE] == []


def test_every_state_is_explained() -> None:
    states = [*RefundState.__args__, *DisputeState.__args__]  # type: ignore[attr-defined]
    assert [state for state in states if f"`{state}`" not in PAGE] == []

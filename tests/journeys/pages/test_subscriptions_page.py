"""docs/subscriptions.md: every command in it can be run as it stands, in its order, and every field is explained."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.common.ids import new_id
from services.subscriptions.entrypoints.change_bodies import ChangeCreateBody
from tests.support.all_services import all_services
from tests.support.postgres import PostgresForTests

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "subscriptions.md").read_text(encoding="utf-8")
COMMAND = re.compile(
    r"^(?:(?P<name>[A-Z]+)=\$\()?(?P<words>api .*?)(?: \| jq -r \.(?P<field>[\w.\[\]]+)\))?$",
    re.MULTILINE | re.DOTALL,
)
MOVED_WITHIN_S = 20.0


def commands(page: str = PAGE) -> Iterator[tuple[str | None, str, str | None]]:
    """The variable that is set, the command, and the field of the answer that it is set to."""
    for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if block.startswith("api()"):
            continue
        # A command goes on as long as its body's quotes are open.
        for command in re.split(r"\n(?=api |[A-Z]+=)", block.strip()):
            match = COMMAND.fullmatch(command)
            assert match is not None, command
            yield match["name"], match["words"], match["field"]


async def run(client: httpx.AsyncClient, words: str, known: dict[str, str]) -> Any:
    for name, value in known.items():
        words = re.sub(rf"\${name}\b", value, words)
    _, method, path, *body = shlex.split(words)
    headers = {"idempotency-key": new_id("key"), "if-match": "*"}
    answer = await client.request(method, path, json=json.loads(body[0]) if body else None, headers=headers)
    assert answer.is_success, f"{words}: {answer.status_code} {answer.text}"
    if path.endswith("/moves") and method == "POST":
        await _arrived(client, f"{path}/{answer.json()['id']}")
    return answer.json()


async def _arrived(client: httpx.AsyncClient, move: str) -> None:
    async with asyncio.timeout(MOVED_WITHIN_S):
        while (await client.get(move)).json()["state"] != "arrived":  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.asyncio(loop_scope="session")
async def test_every_command_of_the_page_works(postgres: PostgresForTests, tmp_path: Path) -> None:
    async with all_services(postgres, folder=tmp_path) as everything:
        tenant = await everything.make_tenant()
        known: dict[str, str] = {}
        done = 0
        async with everything.client(tenant) as client:
            for name, words, field in commands():
                answer = await run(client, words, known)
                if name is not None:
                    assert field is not None
                    known[name] = answer[field]
                done += 1
    assert done >= 20


def test_every_field_of_a_change_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert set(ChangeCreateBody.model_fields) - explained == set()

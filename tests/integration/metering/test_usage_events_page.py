"""docs/usage-events.md: every command in it can be run as it stands, in its order, and answers as the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from services.metering.application.void_and_store import CorrectionStatus
from services.metering.entrypoints.usage_event_bodies import EventResultBody
from services.metering.entrypoints.usage_request import MEDIA_TYPES
from tests.integration.metering.harness import Metering, statuses

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "usage-events.md").read_text(encoding="utf-8")
COMMAND = re.compile(
    r"(?:(?P<name>[A-Z]+)=\$\()?(?P<words>(?:api|send) .*?)(?: \| jq -r '\.data\[0\]\.(?P<field>\w+)'\))?",
    re.DOTALL,
)


class Command(NamedTuple):
    words: str
    name: str | None
    field: str | None


def commands() -> Iterator[Command]:
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if block.startswith("api()"):
            continue
        # A command goes on as long as its body's quotes are open, or its line ends in a backslash.
        for text in re.split(r"\n(?=api |send |[A-Z]+=)", block.strip()):
            match = COMMAND.fullmatch(text.replace("\\\n", " "))
            assert match is not None, text
            yield Command(match["words"], match["name"], match["field"])


async def run(metering: Metering, words: str) -> Any:
    kind, *rest = shlex.split(words)
    if kind == "api":
        method, path, *bodies = rest
        headers = {"content-type": "application/json"}
    else:
        method, path, bodies = "POST", rest[0], rest[1:2]
        headers = dict(header.split(": ", 1) for header in rest[2:])
    content = bodies[0] if bodies else None
    answer = await metering.client.request(method, path, content=content, headers=headers)
    assert answer.is_success, f"{words}: {answer.text}"
    return answer.json() if answer.content else answer.status_code


async def test_every_command_of_the_page_works(metering: Metering) -> None:
    known: dict[str, str] = {}
    shown: list[Any] = []
    for command in commands():
        words = command.words
        for name, value in known.items():
            words = re.sub(rf"\${name}\b", value, words)
        shown.append(await run(metering, words))
        if command.name is not None:
            known[command.name] = shown[-1]["data"][0][command.field]
    meter, sent, single, batch, lines, binary, openmeter, rejects, again, empty, _, dismissed, *rest = shown
    assert meter["code"] == "wash_minutes"
    assert statuses(sent) == ["stored", "stored", "rejected"]
    assert [statuses(told) for told in (single, batch, lines, binary)] == [["stored"], *[["duplicate"]] * 3]
    assert openmeter == 204
    assert [reject["event_id"] for reject in rejects["data"]] == ["w3"]
    assert (again["result"]["status"], again["reject"]["state"]) == ("stored", "resolved")
    assert statuses(empty) == ["rejected"]
    assert dismissed["state"] == "dismissed"
    voided, amended, events, steps, washer_7, washer_8 = rest
    assert statuses(voided) == ["voided", "not_found"]
    assert statuses(amended) == ["amended"]
    assert [event["subject"] for event in events["data"]] in (
        ["washer-7", "washer-8"],
        ["washer-8", "washer-7"],
    )
    assert {step["kind"] for step in steps["data"]} == {"void", "amendment"}
    assert [row["quantity"] for row in washer_7["data"]] == ["30"]
    assert [row["quantity"] for row in washer_8["data"]] == ["44"]


def test_every_status_and_every_form_is_explained() -> None:
    told = set(re.findall(r"`([a-z_/+-]+)`", PAGE))
    assert set(get_args(EventResultBody.model_fields["status"].annotation)) <= told
    assert set(get_args(CorrectionStatus)) <= told
    assert set(MEDIA_TYPES) <= told

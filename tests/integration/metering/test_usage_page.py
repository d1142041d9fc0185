"""docs/usage.md: every command in it can be run as it stands, in its order, and says what the page tells of it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from services.metering.entrypoints.usage_answer_bodies import (
    MeasuredEventBody,
    UsageBalanceBody,
    UsageBody,
)
from tests.integration.metering.harness import Metering
from tests.journeys.pages.test_subscriptions_page import commands

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "usage.md").read_text(encoding="utf-8")


async def test_every_command_of_the_page_works(metering: Metering) -> None:
    known: dict[str, str] = {}
    shown: list[Any] = []
    for name, words, field in commands(PAGE):
        for variable, value in known.items():
            words = words.replace(f"${variable}", value)
        _, method, path, *body = shlex.split(words)
        answer = await metering.client.request(method, path, json=json.loads(body[0]) if body else None)
        assert answer.is_success, f"{words}: {answer.text}"
        is_json = answer.headers["content-type"] == "application/json"
        shown.append(answer.json() if is_json else answer.text)
        if name is not None:
            assert field is not None
            known[name] = answer.json()[field]
    whole, by_day, by_group, filtered, first, second, exported, events, steps, balances = shown[3:]
    assert [row["quantity"] for row in whole["data"]] == ["38.75"]
    assert [row["quantity"] for row in by_day["data"]] == ["11.25", "27.5", "0"]
    assert len(by_group["data"]) == 3
    assert [row["quantity"] for row in filtered["data"]] == ["20"]
    assert (len(first["data"]), len(second["data"]), second["next_cursor"]) == (12, 12, None)
    assert exported.splitlines()[1].startswith("2025-03-29T00:00:00Z,2025-03-30T00:00:00Z,north,11.25,1,")
    assert [event["id"] for event in events["data"]] == ["3"]
    assert [(step["id"], step["level"], step["contribution"]) for step in steps["data"]] == [
        (None, "2", "35.5"),
        ("5", "0", "0"),
    ]
    assert balances["data"] == []


def test_every_field_of_an_answer_and_every_parameter_is_explained(metering: Metering) -> None:
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    for body in (UsageBody, MeasuredEventBody):
        assert set(body.model_fields) - {"meter", "unit", "data"} - explained == set()
    assert {"quantity", "event_count", "said_quantity", "said_at"} <= explained & set(
        UsageBalanceBody.model_fields
    )
    told = metering.service.service.app.openapi()["paths"]["/v1/usage"]["get"]
    assert {parameter["name"] for parameter in told["parameters"]} - explained == set()

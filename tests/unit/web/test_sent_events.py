"""Events that are sent to us, and not published: nothing is let pass that no service would say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from libs.common.contracts.subscriptions import SubscriptionStartedV1
from libs.common.web.sent_events import TEXT_LENGTH_MAX, read_sent_event
from tests.support.billing import TENANT, Story

OTHER = "0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d48"


def sent() -> dict[str, Any]:
    data: dict[str, Any] = Story().started().model_dump(mode="json")
    return data


def put(data: Any, path: str, value: Any) -> None:
    *parts, last = path.strip("/").split("/")
    for part in parts:
        data = data[int(part) if isinstance(data, list) else part]
    data[last] = value


def test_what_is_published_is_read_and_is_of_the_tenant_who_sends_it() -> None:
    for data in (sent(), json.loads(Story().started().model_dump_json(exclude_defaults=True))):
        event, faults = read_sent_event(SubscriptionStartedV1, data, tenant=OTHER, at="/data")
        assert faults == []
        assert event is not None
        assert (event.tenant, event.model_copy(update={"tenant": TENANT}).tenant) == (OTHER, TENANT)


def test_whatever_it_says_of_its_tenant_is_passed_over() -> None:
    _, faults = read_sent_event(SubscriptionStartedV1, {**sent(), "tenant": 7}, tenant=OTHER, at="/data")
    assert faults == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/surprise", 1),
        ("/subscription/surprise", {"a": 1}),
        ("/subscription/items/1/price/surprise", None),
        ("/subscription/items/0/quantity", 2),
        ("/subscription/items/0/quantity", "1e400"),
        ("/subscription/items/0/quantity", "0." + "1" * 19),
        ("/subscription/items/0/quantity", "9" * 21),
        ("/subscription/items/0/price/unit_amount", 1200),
        ("/subscription/interval_count", "1"),
        ("/subscription/interval_count", True),
        ("/subscription/interval_count", 2**31),
        ("/subscription/interval_count", -1),
        ("/subscription/starts_at", 7),
        ("/subscription/anchor_on", "9999-12-31"),
        ("/subscription/customer/is_erased", "true"),
        ("/subscription/plan_name", "x" * (TEXT_LENGTH_MAX + 1)),
        ("/subscription/customer", []),
        ("/period/index", 1.5),
        ("/period/start", "1899-01-01T00:00:00Z"),
        ("/occurred_at", "tomorrow"),
        ("/version", 0),
    ],
)
def test_what_no_service_would_say_is_told_with_its_place(path: str, value: Any) -> None:
    data = sent()
    put(data, path, value)
    _, faults = read_sent_event(SubscriptionStartedV1, data, tenant=OTHER, at="/data")
    assert f"/data{path}" in [fault["pointer"] for fault in faults]
    assert all(len(fault["detail"]) < 400 for fault in faults)


def test_a_long_name_is_not_sent_back() -> None:
    _, (fault,) = read_sent_event(
        SubscriptionStartedV1, {**sent(), "x/" * 5_000: 1}, tenant=OTHER, at="/data"
    )
    assert len(fault["pointer"]) < 200

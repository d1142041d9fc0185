"""The usage query: its cuts, its groups, whose usage it shows, and that the fast answer is the slow one."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.metering.harness import READ, Metering, Story, client_of, flight, fresh, utc
from tests.support.service_under_test import ServiceUnderTest, new_tenant


async def test_usage_is_cut_by_local_days_and_empty_ones_are_zero(metering: Metering) -> None:
    await metering.define()
    await metering.send(
        flight("late evening", "2025-03-09T04:59:00Z", 1),  # 8 March in New York
        flight("first", "2025-03-09T05:00:00Z", 2),  # 9 March, which has 23 hours
        flight("last", "2025-03-10T03:59:59Z", 4),
        flight("next", "2025-03-10T04:00:00Z", 8),
    )
    answer = await metering.get(
        "/v1/usage",
        meter="minutes",
        subject="N1",
        window="day",
        zone="America/New_York",
        **{"from": "2025-03-08T05:00:00Z", "to": "2025-03-12T04:00:00Z"},
    )
    rows = [(row["from"], row["to"], row["quantity"]) for row in answer["data"]]
    assert rows == [
        ("2025-03-08T05:00:00Z", "2025-03-09T05:00:00Z", "1"),
        ("2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z", "6"),
        ("2025-03-10T04:00:00Z", "2025-03-11T04:00:00Z", "8"),
        ("2025-03-11T04:00:00Z", "2025-03-12T04:00:00Z", "0"),
    ]
    assert datetime.fromisoformat(answer["as_of"]) <= datetime.now(UTC)


async def test_a_range_that_cuts_buckets_is_exact(metering: Metering) -> None:
    await metering.define()
    await metering.send(*(flight(str(m), f"2025-01-01T10:{m:02}:30Z", 1) for m in range(60)))
    inside = {"from": "2025-01-01T10:07:30Z", "to": "2025-01-01T10:07:30.000001Z"}
    assert await metering.usage(subject="N1", **inside) == [("1", 1)]
    assert await metering.usage(subject="N1", **{**inside, "to": "2025-01-01T10:52:30Z"}) == [("45", 45)]


async def test_usage_by_group(metering: Metering) -> None:
    await metering.define(group_by=["carrier", "destination"])
    for n, (carrier, destination) in enumerate([("AA", "LAX"), ("AA", "SFO"), ("UA", "LAX"), ("AA", "LAX")]):
        data = {"minutes": 10**n, "carrier": carrier, "destination": destination}
        await metering.send(flight(str(n), "2025-01-01T10:00:00Z", data=data))
    wanted: dict[str, Any] = {"meter": "minutes", "subject": "N1", "from": "2025-01-01T00:00:00Z"}
    answer = await metering.get("/v1/usage", **wanted, group_by=["destination", "carrier"])
    rows = {(row["group"]["carrier"], row["group"]["destination"]): row["quantity"] for row in answer["data"]}
    assert rows == {("AA", "LAX"): "1001", ("AA", "SFO"): "10", ("UA", "LAX"): "100"}
    answer = await metering.get("/v1/usage", **wanted, group_by="carrier")
    assert {row["group"]["carrier"]: row["event_count"] for row in answer["data"]} == {"AA": 3, "UA": 1}


async def test_usage_of_an_item_a_subscription_and_a_customer_is_what_was_bound(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound("N1", end="2025-01-10"), story.bound("N2"))
    await metering.send(
        flight("a", "2025-01-05T00:00:00Z", 1),
        flight("b", "2025-01-15T00:00:00Z", 2),
        flight("c", "2025-01-15T00:00:00Z", 4, "N2"),
    )
    for name, id in (
        ("item_id", story.item_id),
        ("subscription_id", story.subscription_id),
        ("customer_id", story.customer_id),
    ):
        assert await metering.usage(**{name: id}) == [("5", 2)]
    assert await metering.usage(item_id=story.item_id, subject="N1") == [("1", 1)]
    assert await metering.usage(subject="N1") == [("3", 2)]


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({}, 422, "usage_question_unclear"),
        ({"item_id": "si_1", "customer_id": "cus_1"}, 422, "usage_question_unclear"),
        ({"item_id": "si_1"}, 404, "metered_item_not_found"),
        ({"subject": "N1", "meter": "none"}, 404, "meter_not_found"),
        ({"subject": "N1", "group_by": "carrier"}, 422, "dimension_unknown"),
        ({"subject": "N1", "from": "2030-01-01T00:00:00Z"}, 422, "empty_range"),
        ({"asset_id": "ast_1"}, 404, "metered_item_not_found"),
        ({"subject": "N1", "filter": "carrier:AA"}, 422, "dimension_unknown"),
        ({"subject": "N1", "filter": "carrier"}, 422, "usage_filter_unclear"),
        ({"subject": "N1", "filter": "carrier:\n"}, 422, "invalid_parameters"),
        ({"subject": "N1", "window": "minute", "format": "csv"}, 422, "too_many_windows"),
        ({"subject": "N1", "window": "fortnight"}, 422, "invalid_parameters"),
        ({"subject": "N1", "fill": "some"}, 422, "invalid_parameters"),
        ({"subject": "N1", "format": "xml"}, 422, "invalid_parameters"),
        ({"subject": "N1", "limit": "5001"}, 422, "invalid_parameters"),
        ({"subject": "N1", "cursor": "W10.W10"}, 400, "cursor_invalid"),
        ({"subject": "N1", "zone": "Mars/Base"}, 422, "invalid_parameters"),
        ({"subject": "N1", "form": "2025-01-01T00:00:00Z"}, 422, "invalid_parameters"),
    ],
)
async def test_unclear_questions_are_refused(
    metering: Metering, parameters: dict[str, str], status: int, code: str
) -> None:
    await metering.define()
    wanted = {"meter": "minutes", "from": "2000-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z", **parameters}
    assert (await metering.get("/v1/usage", status=status, **wanted))["code"] == code


async def test_a_customer_sees_his_own_usage_and_nobody_elses(metering: Metering, story: Story) -> None:
    other = Story(metering.tenant)
    await metering.define()
    await metering.hear(story.started(), other.started(), story.bound("N1"), other.bound("N2"))
    await metering.hear(story.renewed(1), other.renewed(1))
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 1), flight("b", "2025-01-05T00:00:00Z", 2, "N2"))
    await metering.tick()
    range_ = {"meter": "minutes", "from": "2025-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    windows = (await metering.get("/v1/usage-windows", state="closed"))["data"]
    [foreign] = [w["id"] for w in windows if w["customer_id"] == other.customer_id]
    async with client_of(metering, READ, customer=story.customer_id) as portal:
        for wanted in ({}, {"customer_id": story.customer_id}, {"subject": "N1"}, {"item_id": story.item_id}):
            answer = await portal.get("/v1/usage", params={**range_, **wanted})
            assert [row["quantity"] for row in answer.json()["data"]] == ["1"]
        assert (await portal.get("/v1/usage", params={**range_, "subject": "N2"})).json()["data"][0][
            "quantity"
        ] == "0"
        for name in ("item_id", "subscription_id", "customer_id"):
            answer = await portal.get("/v1/usage", params={**range_, name: getattr(other, name)})
            assert answer.status_code == 404
        own = (await portal.get("/v1/usage-windows")).json()["data"]
        assert {w["subscription_id"] for w in own} == {story.subscription_id}
        assert (await portal.get("/v1/usage-windows", params={"customer_id": other.customer_id})).json()[
            "data"
        ] == []
        assert (await portal.get(f"/v1/usage-windows/{foreign}")).status_code == 404
        assert (await portal.get(f"/v1/usage-windows/{foreign}/events")).status_code == 404
        for path in ("/v1/meters", "/v1/usage-events", "/v1/usage-rejects", "/v1/usage-conflicts"):
            assert (await portal.get(path)).status_code == 403


async def test_a_customer_without_a_subscription_has_used_nothing(metering: Metering) -> None:
    await metering.define()
    async with client_of(metering, READ, customer="cus_new") as portal:
        answer = await portal.get("/v1/usage", params={"meter": "minutes"})
        assert [row["quantity"] for row in answer.json()["data"]] == ["0"]


async def test_another_tenants_ids_are_not_there(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.tick()
    [window] = (await metering.get("/v1/usage-windows", state="closed"))["data"]
    other = Metering(metering.service, fresh())
    async with other.client:
        await other.define()
        assert (await other.get("/v1/usage-windows"))["data"] == []
        await other.get(f"/v1/usage-windows/{window['id']}", status=404)
        await other.get(f"/v1/usage-windows/{window['id']}/events", status=404)
        for name in ("item_id", "subscription_id", "customer_id"):
            await other.get("/v1/usage", status=404, meter="minutes", **{name: getattr(story, name)})


async def test_events_are_listed_in_pages_and_filtered(metering: Metering) -> None:
    events = [
        flight(f"{n}", f"2025-0{n % 3 + 1}-05T00:00:0{n % 7}Z", n, f"N{n % 2}", source=f"s{n % 2}")
        for n in range(20)
    ]
    await metering.send(*events)

    async def listed(**wanted: str) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await metering.get("/v1/usage-events", limit=3, **wanted, **cursor)
            found += [event["id"] for event in page["data"]]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def expected(**wanted: str) -> set[str]:
        return {e["id"] for e in events if all(e[name] == value for name, value in wanted.items())}

    everything = await listed()
    assert len(everything) == 20
    times = {event["id"]: event["time"] for event in events}
    assert [times[id] for id in everything] == sorted(times.values())
    assert set(await listed(subject="N1")) == expected(subject="N1")
    assert set(await listed(source="s0", type="flight.landed")) == expected(source="s0")
    assert await listed(id="5", source="s1") == ["5"]
    assert await listed(id="5", source="s0") == []
    february = await listed(**{"from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z"})
    assert set(february) == {e["id"] for e in events if e["time"].startswith("2025-02")}
    assert (await metering.get("/v1/usage-events", status=422, id="5"))["code"] == "usage_question_unclear"
    assert await listed(created_to="2025-03-01T00:00:00Z") == []


# Fast = brute force. Instants lie densely around bucket edges, so that cuts inside of buckets are common.

START = utc("2025-01-01")
instants = st.builds(
    lambda quarter, offset_us: START + timedelta(minutes=15 * quarter, microseconds=offset_us),
    st.integers(0, 20),
    st.sampled_from([0, 1, -1, 1_000_000, 450_000_000, 899_999_999]),
)
values = st.one_of(
    st.integers(-5, 100).map(Decimal),
    st.decimals(min_value=-10, max_value=10, places=3, allow_nan=False, allow_infinity=False),
)
facts = st.lists(
    st.tuples(instants, st.sampled_from(["N1", "N2"]), values, st.sampled_from(["x", "y", None])), max_size=30
)
spans = st.tuples(instants, instants).filter(lambda pair: pair[0] < pair[1])


Fact = tuple[datetime, str, Decimal, str | None]
Span = tuple[datetime, datetime]
KINDS = ("sum", "count", "max")


def brute(aggregation: str, facts: list[Fact]) -> tuple[Decimal, int]:
    counted = [fact[2] for fact in facts]
    match aggregation:
        case "count":
            return Decimal(len(counted)), len(counted)
        case "sum":
            return sum(counted, Decimal(0)), len(counted)
        case _:
            return max(counted, default=Decimal(0)), len(counted)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    events=facts,
    asked=spans,
    bound=st.lists(st.tuples(st.sampled_from(["N1", "N2"]), spans), max_size=3),
    seed=st.integers(0, 2**32),
    defined_after=st.integers(0, 8),
)
@pytest.mark.long
async def test_the_fast_answer_is_the_slow_one(
    metering_service: ServiceUnderTest,
    events: list[Fact],
    asked: Span,
    bound: list[tuple[str, Span]],
    seed: int,
    defined_after: int,
) -> None:
    """Deliveries shuffled, repeated and split; meters defined somewhere in between; bindings heard in the end."""
    metering = Metering(metering_service, new_tenant())
    held = without_overlap(bound)
    inside = [fact for fact in events if asked[0] <= fact[0] < asked[1]]
    batches = delivered(events, random.Random(seed))
    async with metering.client:
        await send_and_define(metering, batches, defined_after)
        for kind in KINDS:
            story = Story(metering.tenant, meter=f"by-{kind}")
            bindings = [story.bound_between(subject, *span) for subject, span in held]
            await metering.hear(story.started(), *bindings)
            wanted = {"meter": f"by-{kind}", "from": asked[0].isoformat(), "to": asked[1].isoformat()}

            of_item = await rows_of(metering, **wanted, item_id=story.item_id)
            counts = [f for f in inside if any(s == f[1] and a <= f[0] < b for s, (a, b) in held)]
            assert of_item == [brute(kind, counts)]
            behind = await metering.get("/v1/usage/events", **wanted, item_id=story.item_id, limit="200")
            values = sorted(Decimal(event["data"]["minutes"]) for event in behind["data"])
            assert values == sorted(fact[2] for fact in counts)

            of_subject = await rows_of(metering, **wanted, subject="N1")
            assert of_subject == [brute(kind, [f for f in inside if f[1] == "N1"])]

            hours = {**wanted, "subject": "N2", "window": "hour", "zone": "Asia/Kathmandu"}
            for row in (await metering.get("/v1/usage", **hours))["data"]:
                a, b = datetime.fromisoformat(row["from"]), datetime.fromisoformat(row["to"])
                assert told(row) == brute(kind, [f for f in inside if f[1] == "N2" and a <= f[0] < b])

            groups = await metering.get("/v1/usage", **wanted, subject="N1", group_by="kind")
            for row in groups["data"]:
                group = row["group"]["kind"]
                assert told(row) == brute(kind, [f for f in inside if f[1] == "N1" and f[3] == group])


def without_overlap(bound: list[tuple[str, Span]]) -> list[tuple[str, Span]]:
    """As subscriptions sees to it: no two bindings of one subject overlap."""
    held: list[tuple[str, Span]] = []
    for subject, (start, end) in bound:
        if not any(s == subject and start < b and a < end for s, (a, b) in held):
            held.append((subject, (start, end)))
    return held


def delivered(events: list[Fact], order: random.Random) -> list[list[dict[str, Any]]]:
    """Each event once, half of them twice, in any order, in batches of any length."""
    sent = [
        flight(str(n), at.isoformat(), subject=subject, data={"minutes": str(value), "kind": kind})
        for n, (at, subject, value, kind) in enumerate(events)
    ]
    deliveries = sent + order.sample(sent, len(sent) // 2)
    order.shuffle(deliveries)
    batches: list[list[dict[str, Any]]] = []
    while deliveries:
        length = order.randint(1, 10)
        batches.append(deliveries[:length])
        deliveries = deliveries[length:]
    return batches


async def send_and_define(
    metering: Metering, batches: list[list[dict[str, Any]]], defined_after: int
) -> None:
    for batch in batches[:defined_after]:
        await metering.send(*batch)
    for kind in KINDS:
        await metering.define(f"by-{kind}", aggregation=kind, group_by=["kind"])
    for batch in batches[defined_after:]:
        await metering.send(*batch)


async def rows_of(metering: Metering, **wanted: str) -> list[tuple[Decimal, int]]:
    return [told(row) for row in (await metering.get("/v1/usage", **wanted))["data"]]


def told(row: dict[str, Any]) -> tuple[Decimal, int]:
    return Decimal(row["quantity"]), row["event_count"]

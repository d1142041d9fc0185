"""Windows cut by terms: prices that come and go, pauses, changes with effect in the past, what was billed elsewhere."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from libs.common.contracts.subscriptions import SubscriptionPausedV1, SubscriptionResumedV1
from services.metering.adapters.audit import audit_metering
from tests.integration.metering.harness import Metering, Story, flight, utc
from tests.support.service_under_test import ServiceUnderTest, new_tenant

JANUARY, FEBRUARY = utc("2025-01-01"), utc("2025-02-01")
Totals = list[tuple[str, str | None, str, int]]


def totals(event: dict[str, Any], name: str = "totals") -> Totals:
    """(item, price, quantity, events), in any order."""
    told = [(t["item_id"], t.get("price_id"), t["quantity"], t["event_count"]) for t in event[name]]
    return sorted(told, key=str)


async def a_flight_an_hour(metering: Metering, days: int = 31, subject: str = "N1") -> None:
    """One minute each, at half past: the n-th day of January has 24 of them."""
    await metering.define()
    for first in range(0, days, 10):
        await metering.send(
            *(
                flight(f"{subject}-{day}-{hour}", f"2025-01-{day:02}T{hour:02}:30:00Z", 1, subject)
                for day in range(first + 1, min(first + 10, days) + 1)
                for hour in range(24)
            )
        )


async def test_usage_before_and_after_a_change_belongs_to_the_price_then_valid(
    metering: Metering, story: Story
) -> None:
    """The change falls into a bucket, between two events of one hour's bucket; the first price comes back."""
    await a_flight_an_hour(metering)
    await metering.hear(story.started(), story.bound())
    change, back = utc("2025-01-10T12:34:56"), utc("2025-01-20")
    other = story.price("prc_2")
    terms = story.terms(
        story.period(0),
        story.segment(JANUARY, change),
        story.segment(change, back, price=other),
        story.segment(back, FEBRUARY),
    )
    await metering.hear(story.changed(change, terms), story.renewed(1))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    second = 24 * 10 - 13 - 24 + 24  # hours from 12:34 of the 10th until the 20th begins
    assert totals(closed) == [
        (story.item_id, "prc_1", str(31 * 24 - (second - 0)), 31 * 24 - second),
        (story.item_id, "prc_2", str(second), second),
    ]


async def test_usage_in_a_pause_belongs_to_nothing_and_stays_stored(metering: Metering, story: Story) -> None:
    await a_flight_an_hour(metering)
    paused, resumed = utc("2025-01-11"), utc("2025-01-21")
    before = story.segment(JANUARY, paused)
    await metering.hear(story.started(), story.bound())
    await metering.hear(
        story.changed(paused, story.terms(story.period(0), before), kind=SubscriptionPausedV1)
    )
    after = story.segment(resumed, FEBRUARY)
    await metering.hear(
        story.changed(resumed, story.terms(story.period(0), before, after), kind=SubscriptionResumedV1),
        story.renewed(1),
    )
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "prc_1", str(21 * 24), 21 * 24)]
    window = (await metering.get("/v1/usage-windows", state="closed"))["data"][0]
    listed = await metering.get(f"/v1/usage-windows/{window['id']}/events", limit=200)
    assert listed["data"][-1]["time"] < "2025-01-11"
    assert await metering.usage(item_id=story.item_id) == [(str(31 * 24), 31 * 24)]


async def test_the_events_of_a_total_are_those_of_its_price(metering: Metering, story: Story) -> None:
    await a_flight_an_hour(metering, days=2)
    change = utc("2025-01-02")
    terms = story.terms(
        story.period(0),
        story.segment(JANUARY, change),
        story.segment(change, FEBRUARY, price=story.price("prc_2")),
    )
    await metering.hear(story.started(), story.bound(), story.changed(change, terms), story.renewed(1))
    await metering.tick()
    window = (await metering.get("/v1/usage-windows", state="closed"))["data"][0]
    assert {t["price_id"]: t["quantity"] for t in window["totals"]} == {"prc_1": "24", "prc_2": "24"}
    path = f"/v1/usage-windows/{window['id']}/events"
    second = await metering.get(path, price_id="prc_2", limit=200)
    assert [event["time"][:10] for event in second["data"]] == ["2025-01-02"] * 24
    assert len((await metering.get(path, item_id=story.item_id, limit=200))["data"]) == 48
    await metering.get(path, status=404, price_id="prc_3")


async def test_an_item_that_came_and_went_is_known_by_its_usage(metering: Metering, story: Story) -> None:
    await metering.define()
    other = Story(metering.tenant)
    start, end = utc("2025-01-05"), utc("2025-01-15")
    terms = story.terms(
        story.period(0),
        story.segment(JANUARY, FEBRUARY),
        story.segment(start, end, item_id=other.item_id),
    )
    bound = story.bound("N2")
    binding = bound.binding.model_copy(update={"item_id": other.item_id})
    await metering.hear(story.started(), story.bound(), bound.model_copy(update={"binding": binding}))
    await metering.hear(story.changed(end, terms), story.renewed(1))
    await metering.send(
        flight("in", "2025-01-06T00:00:00Z", 3, "N2"), flight("out", "2025-01-20T00:00:00Z", 9, "N2")
    )
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert totals(closed) == sorted(
        [(story.item_id, None, "0", 0), (other.item_id, "prc_1", "3", 1)], key=str
    )
    assert await metering.usage(subscription_id=story.subscription_id) == [("12", 2)]
    assert await metering.usage(item_id=other.item_id) == [("12", 2)]


@pytest.mark.parametrize("kind", ["count", "max"])
async def test_parts_of_one_price_are_combined_as_the_meter_does(metering: Metering, kind: str) -> None:
    await metering.define("peak", aggregation=kind)
    story = Story(metering.tenant, meter="peak")
    await metering.send(
        *(flight(str(day), f"2025-01-{day:02}T00:00:00Z", day) for day in (3, 12, 18, 25, 30))
    )
    other = story.price("prc_2")
    parts = [utc("2025-01-10"), utc("2025-01-20"), utc("2025-01-28")]
    terms = story.terms(
        story.period(0),
        story.segment(JANUARY, parts[0]),
        story.segment(parts[0], parts[1], price=other),
        story.segment(parts[1], parts[2]),
        story.segment(parts[2], FEBRUARY, price=other),
    )
    await metering.hear(story.started(), story.bound(), story.changed(parts[2], terms), story.renewed(1))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    quantities = {"count": ("2", "3"), "max": ("25", "30")}[kind]
    assert totals(closed) == [
        (story.item_id, "prc_1", quantities[0], 2),
        (story.item_id, "prc_2", quantities[1], 3),
    ]


async def test_a_trial_whose_terms_name_no_usage_measures_nothing(metering: Metering, story: Story) -> None:
    await metering.define()
    trial = story.period(0).model_copy(update={"kind": "trial"})
    started = story.started().model_copy(update={"period": trial, "terms": (story.terms(trial),)})
    await metering.hear(started, story.bound(), story.renewed(1))
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 5))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert (closed["period_index"], closed["totals"]) == (0, [])


async def test_a_change_in_the_past_corrects_a_closed_window_and_one_that_changes_nothing_does_not(
    metering: Metering, story: Story
) -> None:
    await a_flight_an_hour(metering, days=4)
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.tick()
    change = utc("2025-01-03")
    terms = story.terms(
        story.period(0),
        story.segment(JANUARY, change),
        story.segment(change, FEBRUARY, price=story.price("prc_2")),
        is_over=True,
    )
    changed = story.changed(utc("2025-02-10"), terms)
    for event in (changed, changed.model_copy(update={"version": changed.version + 1})):
        await metering.hear(event)
        await metering.tick()
    [corrected] = await metering.said(UsageCorrectedV1)
    assert totals(corrected, "before") == [(story.item_id, None, "96", 96)]
    assert totals(corrected) == [(story.item_id, "prc_1", "48", 48), (story.item_id, "prc_2", "48", 48)]


async def test_usage_that_is_agreed_on_for_a_period_that_is_over_gets_a_window(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    trial = story.terms(story.period(0))
    started = story.started().model_copy(update={"terms": (trial,)})
    await metering.hear(started, story.bound())
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 5))
    terms = story.terms(story.period(0), story.segment(JANUARY, FEBRUARY), is_over=True)
    await metering.hear(story.changed(utc("2025-02-03"), terms))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, None, "5", 1)]


@pytest.mark.parametrize(
    ("billed_until", "quantity"),
    [("2024-12-01", "96"), ("2025-01-03T00:45:00", "47"), ("2025-02-01", None), ("2026-01-01", None)],
)
async def test_nothing_is_measured_that_was_billed_elsewhere(
    metering: Metering, story: Story, billed_until: str, quantity: str | None
) -> None:
    await a_flight_an_hour(metering, days=4)
    story.billed_until = utc(billed_until)
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    expected: Totals = [] if quantity is None else [(story.item_id, None, quantity, int(quantity))]
    assert totals(closed) == expected


async def test_a_period_that_was_cut_to_nothing_closes_with_nothing(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound(), story.ended(0, JANUARY))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert (closed["window_start"], closed["window_end"], closed["totals"]) == (
        "2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00Z",
        [],
    )


async def test_the_end_of_a_period_moves_with_its_zone(metering: Metering, story: Story) -> None:
    await a_flight_an_hour(metering)
    end = FEBRUARY - timedelta(hours=11)
    period = story.period(0, end)
    started = story.started()
    moved = story.changed(utc("2025-01-10"), story.terms(period, story.segment(JANUARY, end)))
    renewed = story.renewed(1).model_copy(update={"ended": period})
    await metering.hear(started, story.bound(), moved, renewed)
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert (closed["window_end"], totals(closed)) == (
        "2025-01-31T13:00:00Z",
        [(story.item_id, None, str(31 * 24 - 11), 31 * 24 - 11)],
    )


class Use(NamedTuple):
    at: datetime
    subject: str
    minutes: Decimal


_US = timedelta(microseconds=1)
_DAY_US = 86_400 * 10**6
instants = st.one_of(
    st.integers(0, 4 * _DAY_US).map(lambda us: JANUARY + us * _US),
    st.integers(0, 4 * 96).map(lambda n: JANUARY + n * timedelta(minutes=15)),
    st.integers(0, 30).map(lambda n: JANUARY + timedelta(minutes=n)),
)
uses = st.builds(
    Use,
    instants,
    st.sampled_from(["N1", "N2"]),
    st.decimals("0", "1000", places=3, allow_nan=False, allow_infinity=False),
)
# Where something changes, and the price from there on; None is a pause.
changes = st.lists(st.tuples(instants, st.sampled_from(["p1", "p2", None])), max_size=6)
KINDS = ("count", "sum", "max")


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    used=st.lists(uses, max_size=25),
    changed=changes,
    released_at=instants,
    closes_after=st.integers(0, 6),
    seed=st.integers(0, 2**32),
)
@pytest.mark.long
async def test_totals_over_spans_are_those_of_the_raw_events(
    metering_service: ServiceUnderTest,
    used: list[Use],
    changed: list[tuple[datetime, str | None]],
    released_at: datetime,
    closes_after: int,
    seed: int,
) -> None:
    """Usage, terms, bindings and the end of the period in any order; what comes after the closing corrects it."""
    metering = Metering(metering_service, new_tenant())
    order = random.Random(seed)
    end = JANUARY + timedelta(days=4)
    bounds = [(JANUARY, "p1"), *sorted(changed, key=lambda change: change[0]), (end, None)]
    held = [
        (start, until, price)
        for (start, price), (until, _) in pairwise(bounds)
        if price is not None and start < until
    ]
    async with metering.client:
        stories = {}
        for kind in KINDS:
            await metering.define(kind, aggregation=kind)
            stories[kind] = Story(metering.tenant, meter=kind)
        steps: list[Any] = [
            [flight(str(n), u.at.isoformat(), str(u.minutes), u.subject)] for n, u in enumerate(used)
        ]
        for story in stories.values():
            period = story.period(0, end)
            segments = [story.segment(s, u, price=story.price(p)) for s, u, p in held]
            renewed = story.renewed(1).model_copy(update={"ended": period})
            started = story.started().model_copy(update={"version": 1, "period": period})
            story.version = 5
            terms = story.changed(end, story.terms(period, *segments))
            bound = story.bound("N1")
            released = story.released(bound, released_at.isoformat()[:26].replace("+00:00", ""))
            steps += [started, renewed, terms, bound, released]
        order.shuffle(steps)
        for number, step in enumerate(steps):
            await (metering.send(*step) if isinstance(step, list) else metering.hear(step))
            if number % 7 == closes_after:
                await metering.tick()
        await metering.tick()
        said = {e["subscription_id"]: e for e in await metering.said(UsageWindowClosedV1)}
        for event in await metering.said(UsageCorrectedV1):
            said[event["subscription_id"]] = event
        for kind, story in stories.items():
            mine = [u for u in used if u.subject == "N1" and u.at < released_at]
            wanted: dict[str, tuple[Decimal, int]] = {}
            for price in ("p1", "p2"):
                found = [u.minutes for u in mine if any(s <= u.at < e and p == price for s, e, p in held)]
                if found:
                    quantity = {
                        "count": Decimal(len(found)),
                        "sum": sum(found, Decimal(0)),
                        "max": max(found),
                    }
                    wanted[price] = (quantity[kind], len(found))
            told = {
                t.get("price_id") or "p1": (Decimal(t["quantity"]), t["event_count"])
                for t in said[story.subscription_id]["totals"]
                if t["event_count"]
            }
            if [price for _, _, price in held] == ["p2"] and told:
                told = {"p2": next(iter(told.values()))}  # one price from end to end has no name
            assert told == wanted, kind


async def test_the_audit_counts_by_spans(metering: Metering, story: Story) -> None:
    await a_flight_an_hour(metering, days=4)
    change = utc("2025-01-03T00:31:00")
    terms = story.terms(
        story.period(0),
        story.segment(JANUARY, change),
        story.segment(change, FEBRUARY, price=story.price("prc_2")),
    )
    await metering.hear(story.started(), story.bound(), story.changed(change, terms), story.renewed(1))
    await metering.tick()
    report = await audit_metering(metering.service.parts.audit_database)
    [check] = [check for check in report.checks if check.name == "window_totals"]
    mine = [problem for problem in check.problems if story.item_id in problem]
    assert (mine, check.checked_count > 0) == ([], True)
    tampering = (
        "UPDATE usage_window SET totals = jsonb_set(totals, '{1,quantity}', $2) WHERE subscription_id = $1"
    )
    async with metering.admin() as admin:
        [right] = await admin.fetch(
            "SELECT totals -> 1 -> 'quantity' AS quantity FROM usage_window WHERE subscription_id = $1 "
            "AND state = 'closed'",
            story.subscription_id,
        )
        await admin.execute(tampering, story.subscription_id, '"7"')
        report = await audit_metering(metering.service.parts.audit_database)
        await admin.execute(tampering, story.subscription_id, right["quantity"])
    [check] = [check for check in report.checks if check.name == "window_totals"]
    assert any(f"{story.item_id}@prc_2:7/" in problem for problem in check.problems)


def test_the_harness_dates_its_periods_in_utc() -> None:
    assert Story("t").period(0).start == datetime(2025, 1, 1, tzinfo=UTC)

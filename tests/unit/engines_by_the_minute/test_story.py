"""The names and bounds of the story and of its slices."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from examples.engines_by_the_minute.flights import Flight, event_of
from examples.engines_by_the_minute.story import Story

WHOLE = Story()
SLICE = Story(months=2, carriers=frozenset({"OO", "HA"}))


def test_the_whole_story_has_plain_names() -> None:
    assert WHOLE.named("flying-minutes") == "flying-minutes"
    assert WHOLE.read_body("plan.json")["code"] == "engines-by-the-minute"


def test_a_slice_shares_no_name_with_the_whole() -> None:
    plan = SLICE.read_body("plan.json")
    assert plan["code"] == "engines-by-the-minute-2m-haoo"
    assert [price["code"] for price in plan["prices"]] == ["aircraft", "minutes"]
    assert {price["product"] for price in plan["prices"]} == {SLICE.read_body("product.json")["code"]}
    assert plan["prices"][1]["meter"] == SLICE.read_body("meter.json")["code"]
    assert SLICE.read_body("meter.json")["event_type"] == SLICE.event_type != WHOLE.event_type
    assert SLICE.source != WHOLE.source


def test_every_slice_has_names_short_enough_for_codes() -> None:
    carriers = frozenset(re.findall("..", "9EAAASB6DLEVF9FLHAMQOOUAUSVXWNYV"))
    longest = Story(months=11, carriers=carriers).read_body("plan.json")["code"]
    assert len(longest) <= 64, longest


def test_months_end_at_local_midnight() -> None:
    assert WHOLE.starts_at == datetime(2013, 1, 1, 5, tzinfo=UTC)
    assert (WHOLE.ends_on, WHOLE.ends_at) == (date(2014, 1, 1), datetime(2014, 1, 1, 5, tzinfo=UTC))
    summer = Story(months=6)
    assert (summer.ends_on, summer.ends_at) == (date(2013, 7, 1), datetime(2013, 7, 1, 4, tzinfo=UTC))


def test_what_a_flight_lacks_is_left_out_of_its_event() -> None:
    flight = Flight("UA", "1545", "EWR", "IAH", "N14228", 227, 1400, 1, "2013-01-01T10:00:00Z")
    event = event_of(flight, WHOLE)
    assert event["id"] == "UA-1545-EWR-2013-01-01T10:00:00Z"
    assert event["subject"] == "N14228"
    assert event["data"] == {"carrier": "UA", "destination": "IAH", "air_time": 227, "distance": 1400}
    bare = event_of(flight._replace(tail=None, air_time=None), WHOLE)
    assert "subject" not in bare
    assert bare["data"] == {"carrier": "UA", "destination": "IAH", "distance": 1400}

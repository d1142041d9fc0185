"""What stands for an identity after any number of voids and amendments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.domain.usage_correction import (
    Place,
    RawEvent,
    StandingEvent,
    amend,
    correction_id,
    revised,
    revision_key,
    says_the_same,
    void,
)
from services.metering.domain.usage_event import UsageEvent, event_key

TENANT, SOURCE = "11111111-1111-1111-1111-111111111111", "s"
AT = datetime(2025, 1, 10, 10, tzinfo=UTC)
NOW = AT + timedelta(days=30)


def sent(minutes: int = 60, **changes: Any) -> UsageEvent:
    told = {
        "tenant": TENANT,
        "source": SOURCE,
        "event_id": "a",
        "type": "flight.landed",
        "subject": "N1",
        "time": AT,
        "arrived_at": NOW,
        "data": {"minutes": minutes},
        "data_json": b'{"minutes":%d}' % minutes,
        **changes,
    }
    return UsageEvent(**told)


def standing(event: UsageEvent | None = None) -> StandingEvent:
    first = event or sent()
    return StandingEvent(
        identity=first.key,
        revision=0,
        is_counted=True,
        place=Place(first.key, first.occurred_at),
        digest=first.digest,
        raw=RawEvent(first.type, first.subject, first.occurred_at, first.data),
    )


def test_a_void_withdraws_what_counts_and_puts_nothing_in_its_place() -> None:
    found = void(standing(), source=SOURCE, event_id="a", reason="why", author="ann", now=NOW)
    assert (found.kind, found.revision, found.withdrawn) == ("void", 1, event_key(TENANT, SOURCE, "a"))
    assert found.replacement is None
    assert (found.occurred_at, found.corrected_at) == (AT, NOW)


def test_an_amendment_withdraws_what_counts_and_puts_a_row_of_its_own_there() -> None:
    replacement = revised(sent(61, time=AT + timedelta(days=1)), standing(), tenant=TENANT)
    found = amend(standing(), replacement, reason="why", author="ann", now=NOW)
    assert found.withdrawn == event_key(TENANT, SOURCE, "a")
    assert found.replacement == Place(revision_key(TENANT, SOURCE, "a", 1), AT + timedelta(days=1))
    again = standing().amended(replacement)
    assert again.place == found.replacement
    assert again.correction_id == found.id


def test_what_was_voided_is_amended_back_and_withdraws_nothing() -> None:
    voided = standing().voided()
    replacement = revised(sent(), voided, tenant=TENANT)
    found = amend(voided, replacement, reason="why", author="ann", now=NOW)
    assert (found.revision, found.withdrawn) == (2, None)
    assert voided.amended(replacement).is_counted


def test_an_amendment_without_a_time_keeps_the_time_of_what_it_replaces() -> None:
    assert revised(sent(61, time=None), standing(), tenant=TENANT).occurred_at == AT


class Same(NamedTuple):
    name: str
    first: UsageEvent
    amended: UsageEvent
    is_same: bool


SAME = [
    Same("as_it_is", sent(), sent(), True),
    Same("without_its_time", sent(), sent(time=None), True),
    Same("sent_without_a_time", sent(time=None), sent(time=NOW), True),
    Same("other_value", sent(), sent(61), False),
    Same("other_time", sent(), sent(time=NOW), False),
    Same("other_subject", sent(), sent(subject="N2"), False),
    Same("other_type", sent(), sent(type="flight.left"), False),
    Same("sent_without_a_time_and_moved", sent(time=None), sent(time=AT), False),
]


@pytest.mark.parametrize("case", SAME, ids=lambda case: case.name)
def test_an_amendment_that_says_what_is_there_changes_nothing(case: Same) -> None:
    found = standing(case.first)
    assert says_the_same(revised(case.amended, found, tenant=TENANT), found) is case.is_same


def test_what_was_voided_says_nothing_that_could_be_the_same() -> None:
    voided = standing().voided()
    assert not says_the_same(revised(sent(), voided, tenant=TENANT), voided)


@settings(max_examples=50)
@given(steps=st.lists(st.sampled_from(["void", "amend"]), max_size=8))
def test_a_life_of_corrections_is_a_chain_without_a_gap(steps: list[str]) -> None:
    """Each raw row is withdrawn once at most, and what counts in the end is what was put there last."""
    found, withdrawn, ids = standing(), [], []
    for number, step in enumerate(steps):
        if step == "void" and found.is_counted:
            correction = void(found, source=SOURCE, event_id="a", reason="r", author="x", now=NOW)
            found = found.voided()
        elif step == "amend":
            replacement = revised(sent(number), found, tenant=TENANT)
            correction = amend(found, replacement, reason="r", author="x", now=NOW)
            found = found.amended(replacement)
            assert found.raw is not None
            assert found.raw.data == {"minutes": number}
        else:
            continue
        ids.append(correction.id)
        withdrawn.append(correction.withdrawn)
        assert correction.revision == len(ids) == found.revision
        assert found.correction_id == correction.id
    told = [key for key in withdrawn if key is not None]
    assert len(set(told)) == len(told)
    assert len(set(ids)) == len(ids)
    assert found.is_counted is (not ids or steps_end_amended(steps))


def steps_end_amended(steps: list[str]) -> bool:
    """A void of what is void already is none."""
    return steps[-1] == "amend"


def test_ids_and_keys_of_corrections_are_derived() -> None:
    identity = event_key(TENANT, SOURCE, "a")
    assert correction_id(identity, 1) == correction_id(identity, 1) != correction_id(identity, 2)
    assert revision_key(TENANT, SOURCE, "a", 1) != identity


def test_instants_are_told_in_microseconds() -> None:
    event = RawEvent("t", "s", datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC), {"n": Decimal("1.5")})
    assert event.occurred_us == 1_000_005

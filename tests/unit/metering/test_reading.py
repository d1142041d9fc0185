from __future__ import annotations

from typing import Any

import pytest

from services.metering.domain.counter import CounterRules
from services.metering.domain.reading import Reading, as_decided, flaws, reading_id, sent_digest
from tests.unit.metering.readings import DAY_0, SIX_DIGITS, a_reading, exchanged, on_day

CASES: list[tuple[str, CounterRules, Reading, list[tuple[str, str]]]] = [
    ("plain", SIX_DIGITS, a_reading(0, 999_999), []),
    ("beyond_the_register", SIX_DIGITS, a_reading(0, 1_000_000), [("beyond_register", "/value")]),
    ("of_a_greater_device", SIX_DIGITS, a_reading(0, 1_000_000, register_digits=7), []),
    ("too_fine", SIX_DIGITS, a_reading(0, "0.5"), [("too_many_decimals", "/value")]),
    ("zeros_are_no_decimals", SIX_DIGITS, a_reading(0, "5.00"), []),
    ("fine_enough", CounterRules(decimals=2), a_reading(0, "0.25"), []),
    (
        "wrap_of_unknown_digits",
        CounterRules(),
        a_reading(0, 5, kind="wrap"),
        [("digits_unknown", "/register_digits")],
    ),
    ("exchange", SIX_DIGITS, exchanged(0, old_end=5, new_start=0, device="B"), []),
    (
        "old_end_of_a_greater_device",
        SIX_DIGITS,
        exchanged(0, old_end=5_000_000, new_start=0, device="B"),
        [],
    ),
    (
        "exchange_of_which_nothing_is_told",
        SIX_DIGITS,
        a_reading(0, 5, kind="exchange"),
        [("exchange_incomplete", f"/{name}") for name in ("device", "old_end", "new_start")],
    ),
    ("end_of_nothing", SIX_DIGITS, a_reading(0, 5, old_end=4), [("not_of_this_kind", "/old_end")]),
]


@pytest.mark.parametrize(("name", "rules", "reading", "found"), CASES, ids=[case[0] for case in CASES])
def test_flaws(name: str, rules: CounterRules, reading: Reading, found: list[tuple[str, str]]) -> None:
    assert [(flaw.code, flaw.pointer) for flaw in flaws(reading, rules)] == found


def test_a_reading_is_the_same_by_its_senders_id_or_by_its_device_and_instant() -> None:
    def id_of(**changes: Any) -> str:
        given = {"sent_id": None, "device": "A", "read_at": DAY_0, **changes}
        return reading_id("t", "light", "lamp-1", **given)

    assert id_of() == id_of()
    assert id_of(sent_id="x") == id_of(sent_id="x", device="B", read_at=on_day(1))
    different = {id_of(), id_of(device=None), id_of(device="B"), id_of(read_at=on_day(1)), id_of(sent_id="A")}
    assert len(different) == 5


def test_the_spelling_of_a_number_makes_no_other_reading() -> None:
    def digest_of(value: str) -> str:
        reading = a_reading(0, value)
        return sent_digest(
            read_at=reading.read_at,
            value=reading.value,
            quality="actual",
            kind="regular",
            device=None,
            register_digits=None,
            old_end=None,
            new_start=None,
        )

    assert digest_of("1.50") == digest_of("1.5") != digest_of("15")


def test_a_decision_explains_a_reading_and_makes_it_certain() -> None:
    held = a_reading(0, 5, state="held", device="A")
    decided = as_decided(held, kind="reset", reason="power failure")
    assert (decided.kind, decided.old_end, decided.new_start) == ("reset", None, 0)
    assert (decided.state, decided.is_certain, decided.device) == ("accepted", True, "A")
    as_it_is = as_decided(held, kind=None, reason="seen")
    assert (as_it_is.kind, as_it_is.new_start) == ("regular", None)

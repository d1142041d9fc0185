"""The picture of recurring revenue: well formed, told in words too, and with no label over another."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest

from services.subscriptions.domain.recurring_revenue import KINDS, MovementKind, RevenueMonth
from services.subscriptions.entrypoints.revenue_chart import HEIGHT, LETTER, WIDTH, revenue_chart

SAMPLE = Path(__file__).parents[3] / "docs" / "samples" / "revenue-movements.svg"
SVG = "{http://www.w3.org/2000/svg}"
YEAR: tuple[Mapping[MovementKind, str], ...] = (
    {"new": "5200"},
    {"new": "1800", "expansion": "250"},
    {"new": "900", "contraction": "-300"},
    {"expansion": "1200", "churn": "-850"},
    {"new": "640.50", "reactivation": "400"},
    {"contraction": "-120", "churn": "-90"},
    {"indexation": "231.25", "new": "300"},
    {"expansion": "700", "indexation": "12"},
    {},
    {"churn": "-1900", "contraction": "-450", "new": "350"},
    {"reactivation": "850", "new": "1250"},
    {"new": "2100", "expansion": "480", "contraction": "-75"},
)


def months(*moved: Mapping[MovementKind, str], currency: str = "EUR", year: int = 2025) -> list[RevenueMonth]:
    found, opening = [], Decimal(0)
    for number, kinds in enumerate(moved):
        month = RevenueMonth(
            currency=currency,
            starts_on=date(year + number // 12, number % 12 + 1, 1),
            opening=opening,
            by_kind={kind: Decimal(kinds.get(kind, 0)) for kind in KINDS},
            retained_net=opening,
            retained_gross=opening,
            customer_count=1,
            subscription_count=1,
        )
        found.append(month)
        opening = month.closing
    return found


Box = tuple[float, float, float, float]


def boxes(drawn: str) -> list[tuple[str, Box]]:
    """Where each text stands: from left, top to right, bottom."""
    found = []
    for text in ElementTree.fromstring(drawn).iter(f"{SVG}text"):
        said = text.text or ""
        size = 16 if "title" in text.attrib["class"] else 11
        width = float(LETTER) * len(said) * size / 11
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        left = {"start": x, "middle": x - width / 2, "end": x - width}[text.attrib["text-anchor"]]
        found.append((said, (left, y - size, left + width, y)))
    return found


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


LIVES = {
    "a year": months(*YEAR),
    "one month": months({"new": "12.5"}),
    "nothing moved": months({}, {}),
    "ten years": months(*(YEAR * 10)),
    "millions": months(*({"new": "123456789.01"},) * 12),
    "yen": months({"new": "5"}, {"new": "2", "churn": "-1"}, currency="JPY"),
    "small dinars": months({"new": "0.001"}, {"expansion": "0.003"}, currency="BHD"),
    "nothing": [],
}


@pytest.mark.parametrize("life", LIVES)
def test_no_label_stands_over_another_or_outside(life: str) -> None:
    placed = boxes(revenue_chart(LIVES[life]))
    for (said, one), (other_said, other) in combinations(placed, 2):
        assert not overlap(one, other), (said, other_said)
    for said, (left, top, right, bottom) in placed:
        assert left >= 0, said
        assert top >= 0, said
        assert right <= WIDTH, said
        assert bottom <= HEIGHT, said


@pytest.mark.parametrize("life", LIVES)
def test_bars_stay_within_the_picture_and_have_no_negative_height(life: str) -> None:
    for bar in ElementTree.fromstring(revenue_chart(LIVES[life])).iter(f"{SVG}rect"):
        assert float(bar.get("height", "0")) >= 0
        assert 0 <= float(bar.get("y", "0")) <= HEIGHT


def test_it_says_in_words_what_it_shows_and_runs_nothing() -> None:
    drawn = ElementTree.fromstring(revenue_chart(LIVES["a year"]))
    assert drawn.attrib["role"] == "img"
    assert drawn.attrib["aria-labelledby"] == "title told"
    assert drawn.findtext(f"{SVG}title") == "Monthly recurring revenue in EUR, 2025-01 to 2025-12"
    told = drawn.findtext(f"{SVG}desc") or ""
    assert told.startswith("MRR opened at 0.00 EUR and closed at 12,878.75 EUR. Between: new 12,540.50")
    assert not list(drawn.iter(f"{SVG}script"))
    bars = {title.text for title in drawn.iter(f"{SVG}title")}
    assert {"2025-10: churn -1,900.00 EUR", "2025-12: MRR 12,878.75 EUR"} <= bars
    assert "prefers-color-scheme: dark" in (drawn.findtext(f"{SVG}style") or "")


def test_what_goes_up_and_what_goes_down_are_as_high_as_they_are_much() -> None:
    drawn = ElementTree.fromstring(revenue_chart(months({"new": "100"}, {"new": "50", "churn": "-25"})))
    heights = {
        (bar.findtext(f"{SVG}title") or "").partition(" EUR")[0]: float(bar.get("height", "0"))
        for bar in drawn.iter(f"{SVG}rect")
    }
    assert heights["2025-01: new 100.00"] == pytest.approx(2 * heights["2025-02: new 50.00"], abs=0.11)
    assert heights["2025-02: new 50.00"] == pytest.approx(2 * heights["2025-02: churn -25.00"], abs=0.11)


def test_the_sample_is_what_is_drawn_today() -> None:
    assert SAMPLE.read_text(encoding="utf-8") == revenue_chart(LIVES["a year"])

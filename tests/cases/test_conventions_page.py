"""The page about conventions tells what the table of refusals says, no less and no more."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import pytest

from tests.cases.conventions import LATER, REFUSED, Refusal

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"


def rows_below(heading: str) -> list[str]:
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n", maxsplit=1)[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def rows_of(refusals: Sequence[Refusal]) -> list[str]:
    """A row for each reason within an area: the kinds of case, and of each the rules that are meant."""
    rows = []
    for (area, reason), together in groupby(refusals, key=lambda refusal: (refusal.area, refusal.reason)):
        kinds = [
            _kind(kind, of_kind) for kind, of_kind in groupby(together, key=lambda refusal: refusal.kind)
        ]
        rows.append(f"| {area}: {'; '.join(kinds)} | {reason} |")
    return rows


def _kind(kind: str, refusals: Iterable[Refusal]) -> str:
    rules = [rule for refusal in refusals if (rule := _rule(refusal))]
    return f"`{kind}` ({', '.join(rules)})" if rules else f"`{kind}`"


def _rule(refusal: Refusal) -> str | None:
    if refusal.convention is None or refusal.phrase == "*":
        return refusal.convention
    return f"{refusal.convention}: {refusal.phrase.replace('*', '…')}"


@pytest.mark.parametrize(("heading", "refusals"), [("Refused", REFUSED), ("Not offered yet", LATER)])
def test_the_page_tells_every_refusal_with_its_reason(heading: str, refusals: Sequence[Refusal]) -> None:
    assert rows_below(heading) == rows_of(refusals)


def test_the_page_says_whether_a_way_of_pricing_is_refused() -> None:
    says_none = "No way of pricing is among them." in PAGE.read_text(encoding="utf-8")
    assert says_none is not any(refusal.area == "pricing" for refusal in (*REFUSED, *LATER))

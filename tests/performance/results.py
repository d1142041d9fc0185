"""What was measured: a row for each target, and the file that keeps them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.performance.targets import TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "var" / "bench.json"


@dataclass(frozen=True, slots=True)
class Measured:
    """One target's result. `spread` is the least and the greatest of what is judged, over all runs."""

    target: str
    figure: float
    unit: str
    spread: tuple[float, float]
    comparator: float | None = None
    ratio: float | None = None
    note: str = ""
    only_reported: bool = False

    @property
    def judged(self) -> float:
        found = self.ratio if TARGETS[self.target].judged == "ratio" else self.figure
        assert found is not None, "what is judged was measured"
        return found

    @property
    def verdict(self) -> str:
        """How it stands against its floor and its goal; `only_reported`: where the machine has too few cores for it."""
        target = TARGETS[self.target]
        if _reaches(self.judged, target.goal, target):
            return "goal"
        if _reaches(self.judged, target.floor, target):
            return "floor"
        return "reported" if self.only_reported else "below the floor"


def compared(
    target: str,
    pairs: Sequence[tuple[float, float]],
    unit: str,
    *,
    note: str = "",
    only_reported: bool = False,
) -> Measured:
    """From interleaved runs of `(ours, comparator's)`: the median of the ratios, one from each pair."""
    ratios = [ours / theirs for ours, theirs in pairs]
    return Measured(
        target=target,
        figure=statistics.median(ours for ours, _ in pairs),
        unit=unit,
        spread=(min(ratios), max(ratios)),
        comparator=statistics.median(theirs for _, theirs in pairs),
        ratio=statistics.median(ratios),
        note=note,
        only_reported=only_reported,
    )


def alone(target: str, figures: Sequence[float], unit: str, *, note: str = "") -> Measured:
    """From runs that are compared with nothing: the median."""
    return Measured(
        target=target,
        figure=statistics.median(figures),
        unit=unit,
        spread=(min(figures), max(figures)),
        note=note,
    )


def to_json(machine: str, rows: Sequence[Measured]) -> dict[str, Any]:
    return {"machine": machine, "rows": [_row_json(row) for row in rows]}


def from_json(told: dict[str, Any]) -> tuple[str, list[Measured]]:
    return told["machine"], [
        Measured(
            target=row["target"],
            figure=row["figure"],
            unit=row["unit"],
            spread=(row["spread"][0], row["spread"][1]),
            comparator=row["comparator"],
            ratio=row["ratio"],
            note=row["note"],
            only_reported=row["only_reported"],
        )
        for row in told["rows"]
    ]


def save(machine: str, rows: Sequence[Measured], path: Path = PATH) -> None:
    """Write the file; rows of an earlier run that were not measured again stay out of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(to_json(machine, rows), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path = PATH) -> tuple[str, list[Measured]]:
    return from_json(json.loads(path.read_text(encoding="utf-8")))


def _row_json(row: Measured) -> dict[str, Any]:
    target = TARGETS[row.target]
    return {
        "id": row.target.split()[0],
        "target": row.target,
        "what": target.what,
        "compared_with": target.compared_with,
        "figure": row.figure,
        "unit": row.unit,
        "comparator": row.comparator,
        "ratio": row.ratio,
        "spread": list(row.spread),
        "floor": target.floor,
        "goal": target.goal,
        "verdict": row.verdict,
        "note": row.note,
        "only_reported": row.only_reported,
    }


def _reaches(found: float, wanted: float, target: Target) -> bool:
    return found >= wanted if target.more_is_better else found <= wanted

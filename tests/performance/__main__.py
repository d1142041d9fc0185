"""`make bench`: measure everything, print the table, write var/bench.json."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.performance import results, screen
from tests.performance.bench import Bench
from tests.performance.machine import machine
from tests.performance.results import Measured
from tests.performance.targets import TARGETS

# In the order in which they run: P5 wants to know the saturation that P1 found.
ROWS = {
    "P1": "p01_ingest",
    "P3": "p03_ordinary",
    "P4": "p04_single",
    "P5": "p05_visible",
    "P10": "p10_policies",
    "P6": "p06_others",
    "P11": "p11_memory",
    "P12": "p12_kill",
    "P7": "p07_renewal",  # and P9
    "run": "p15_billing_run",
    "P2": "p02_topic",
    "P8": "p08_workers",
    "R": "p13_rating",
    "documents": "documents",
    "audit": "p16_audit",
    "scale": "scale",
}
LONG = ("audit", "scale")  # only when it is named
GIVEN_BY = {"P9": "P7"}
ALONE = (
    "P6",
    "scale",
    "P11",
    "P12",
    "P7",
    "run",
    "audit",
    "P2",
)  # what was shared until then is stopped before them
RUNS = 5
LOGS = results.ROOT / "var" / "bench-logs"
DOCUMENT = results.ROOT / "docs" / "performance.md"


async def measure(
    wanted: Sequence[str], *, runs: int, scale: float, console: Console, folder: Path = LOGS
) -> list[Measured]:
    """The rows of the targets that are wanted, in the order of their numbers."""
    bench = Bench(folder, runs=runs, scale=scale, say=console.print)
    asked = {GIVEN_BY.get(id, id) for id in wanted}
    found: list[Measured] = []
    try:
        for id, module in ROWS.items():
            if id in asked:
                began = time.monotonic()
                if id in ALONE:
                    bench.stop_shared()
                measured = await importlib.import_module(f"tests.performance.rows.{module}").measure(bench)
                found += measured
                for row in measured:
                    spread = f"{row.spread[0]:.3g}–{row.spread[1]:.3g}"
                    console.print(
                        f"  {row.target:<14} {row.judged:>8.3g} ({spread})  {row.verdict}"
                        f"  after {time.monotonic() - began:.0f} s",
                        highlight=False,
                    )
    finally:
        bench.stop_shared()
    chosen = [row for row in found if row.target.split()[0] in wanted]
    return sorted(chosen, key=lambda row: list(TARGETS).index(row.target))


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when something is below its floor."""
    known = list(dict.fromkeys(target.split()[0] for target in TARGETS))
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__)
    usual = ",".join(id for id in known if id not in LONG)
    parser.add_argument("--only", default=usual, help="targets, such as P1,P4")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each, of which the median counts")
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks everything, to try it out")
    parser.add_argument("--markdown", action="store_true", help="only print the last run's table")
    parser.add_argument("--document", action="store_true", help="only put the last run's table into the docs")
    options = parser.parse_args(arguments)
    if options.markdown:
        print(screen.markdown(*results.load()), end="")
        return 0
    if options.document:
        screen.write_into(DOCUMENT, screen.markdown(*results.load()))
        return 0
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(known):
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}")
    console = Console()
    LOGS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    rows = asyncio.run(measure(wanted, runs=options.runs, scale=options.scale, console=console))
    told = machine()
    path = results.PATH.with_name("bench-scale.json") if set(wanted) <= set(LONG) else results.PATH
    results.save(told, rows, path)
    screen.show(told, rows, console)
    console.print(f"Written to {path} after {time.monotonic() - began:.0f} s.", highlight=False)
    return 1 if any(row.verdict == "below the floor" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

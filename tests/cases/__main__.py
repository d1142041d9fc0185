"""`python -m tests.cases PATH` runs the cases in a folder, and says how many pass."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cases.case_files import UnreadableCases, area_files, read_cases
from tests.cases.running import report, run_cases
from tests.cases.server import SERVER

UNREADABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when nothing failed, 1 when something did, 2 when the cases cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m tests.cases", description=__doc__)
    parser.add_argument("path", type=Path, metavar="PATH", help="a folder with files such as pricing.json")
    folder = parser.parse_args(arguments).path
    try:
        cases = {area: read_cases(path, area) for area, path in area_files(folder).items()}
    except UnreadableCases as unreadable:
        print(unreadable, file=sys.stderr)
        return UNREADABLE
    try:
        outcomes = {area: run_cases(of_area) for area, of_area in cases.items()}
    finally:
        SERVER.close()
    for line in report(outcomes):
        print(line)
    return int(any(outcome.status == "failed" for of_area in outcomes.values() for outcome in of_area))


if __name__ == "__main__":
    sys.exit(main())

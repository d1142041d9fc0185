"""What the commands of the pages need on the machine: their `api` makes its keys with programs that POSIX names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.journeys.pages.test_subscriptions_page import ROOT

KEY = re.compile(r'-H "Idempotency-Key: (\$\(.*\))" \\$', re.MULTILINE)
PAGES = [
    page for page in sorted((ROOT / "docs").glob("*.md")) if KEY.search(page.read_text(encoding="utf-8"))
]
PROGRAMS = ("od", "tr")


def test_every_key_is_new_and_needs_no_more_than_these_programs(tmp_path: Path) -> None:
    said = {KEY.findall(page.read_text(encoding="utf-8"))[0] for page in PAGES}
    assert len(PAGES) >= 15
    assert not [
        page for page in (ROOT / "docs").glob("*.md") if "uuidgen" in page.read_text(encoding="utf-8")
    ]
    (key,) = said
    for program in PROGRAMS:
        found = shutil.which(program)
        assert found is not None
        (tmp_path / program).symlink_to(found)
    script = f'printf "%s\\n" "{key}" "{key}"'
    made = subprocess.run(
        ["/bin/sh", "-ec", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    first, second = made.stdout.splitlines()
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{32}", first)

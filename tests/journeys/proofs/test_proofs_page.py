"""docs/proofs.md: its commands run as they stand, one after the other, against one real process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.one_process import one_process

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "proofs.md").read_text(encoding="utf-8")
TIMEOUT_S = 300


def script(base_url: str, token: str) -> str:
    """All commands of the page, for a server at another address and with another token."""
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    commands = commands.replace("http://127.0.0.1:8000", base_url).replace("$(cat var/sandbox-token)", token)
    ours = {".venv/bin/perennial": f"{sys.executable} -m libs.cli.main", ".venv/bin/python": sys.executable}
    commands = re.sub(r"\.venv/bin/(perennial|python)", lambda found: ours[found.group()], commands)
    return f"set -euo pipefail\n{commands}"


@pytest.mark.long
def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    with one_process(tmp_path / "log") as process:
        process.start()
        environment = os.environ | {"PERENNIAL_URL": process.base_url, "PERENNIAL_TOKEN": process.token}
        done = subprocess.run(
            ["bash", "-c", script(process.base_url, process.token)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same to the byte" in done.stdout
    assert '"leaf_hash"' in done.stdout
    assert re.search(r"The invoice \S+ of [\d.]+ USD holds", done.stdout)

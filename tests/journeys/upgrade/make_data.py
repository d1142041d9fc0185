"""Make the data of a release: `python -m tests.journeys.upgrade.make_data COMMIT`.

The commit's own code is unpacked beside this checkout and runs with this checkout's environment; `before.py` of
this folder tells it what to do. What comes of it is `data/COMMIT.tar.xz`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def main(commit: str) -> int:
    with tempfile.TemporaryDirectory(prefix="perennial-release-") as made:
        release = Path(made)
        release.chmod(0o755)  # the account that PostgreSQL runs under for root must be able to enter
        archive = release / "code.tar"
        subprocess.run(["git", "archive", "--output", str(archive), commit], cwd=ROOT, check=True)
        subprocess.run(["tar", "--extract", "--file", str(archive)], cwd=release, check=True)
        for environment in (".venv", ".venv-demo"):
            (release / environment).symlink_to(ROOT / environment)
        target = release / f"{commit}.tar.xz"
        surroundings = os.environ | {"PYTHONPATH": str(release)}
        subprocess.run(
            [sys.executable, str(HERE / "before.py"), str(target)], cwd=release, env=surroundings, check=True
        )
        kept = HERE / "data" / target.name
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(target.read_bytes())
    print(f"{kept.relative_to(ROOT)}: {kept.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

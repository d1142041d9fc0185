"""docker-compose.yml as a test reads it: its services with their commands, and its variables filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"

# ${NAME:-default}, as the file uses it; nothing else of the kind stands in it.
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::-(?P<default>[^}]*))?\}")


def read_compose(environ: Mapping[str, str] | None = None, *, file: Path = FILE) -> dict[str, Any]:
    """The file with its anchors and variables resolved, as `docker compose config` would."""
    known = environ or {}

    def value(match: re.Match[str]) -> str:
        return known.get(match["name"]) or match["default"] or ""

    document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, file.read_text(encoding="utf-8")))
    return document

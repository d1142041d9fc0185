"""What can be set about the one process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from libs.common.settings import Settings, setting

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings(Settings):
    """`database_url` replaces the embedded PostgreSQL; its login may make roles and databases."""

    PREFIX: ClassVar[str] = "PERENNIAL_"

    host: str = setting("127.0.0.1")
    port: int = setting(8000, minimum=0, maximum=65535)
    var_folder: Path = setting(ROOT / "var")
    database_url: str = setting("")
    database_fsync: bool = setting(True)
    log_level: str = setting("WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    record_sql_spans: bool = setting(True)
    bus_partitions: int = setting(4, minimum=1, maximum=64)

"""What can be set about the Kafka broker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from libs.common.settings import Settings, setting

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings(Settings):
    """`host` is where the broker listens, `advertised_host` where it tells its clients to find it (if empty,
    where it listens).

    `jars_folder` has the programs already, as an image does; without it Maven fetches them, once.
    """

    PREFIX: ClassVar[str] = "PERENNIAL_KAFKA_"

    host: str = setting("127.0.0.1")
    port: int = setting(9092, minimum=1, maximum=65535)
    controller_port: int = setting(9093, minimum=1, maximum=65535)
    advertised_host: str = setting("")
    folder: Path = setting(ROOT / "var" / "kafka" / "broker")
    jars_folder: Path | None = setting(None)
    heap_mb: int = setting(512, minimum=128, maximum=65_536)

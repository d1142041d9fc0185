"""Write down what the code promises to others: OpenAPI and AsyncAPI of each service, under docs/contracts.

`make contracts` writes the files; the tests compare them with the code, so that no promise changes unseen.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.local.process import build_services
from libs.common.access.keys import KeyFile
from libs.common.clock import SystemClock
from libs.common.contracts import SERVICES
from libs.common.contracts.asyncapi import document_of
from libs.common.messaging.bus import Record, Subscription
from libs.common.runtime import Platform

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "contracts"
NOWHERE = "postgresql+asyncpg://nobody@/nowhere"


class _NoBus:
    """Nothing runs while the contracts are read."""

    async def ensure_topics(self, topics: Mapping[str, int]) -> None:
        raise NotImplementedError

    async def publish(self, records: Sequence[Record]) -> None:
        raise NotImplementedError

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> Subscription:
        raise NotImplementedError

    async def end_offsets(self, topic: str) -> dict[int, int]:
        raise NotImplementedError

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def contracts() -> Iterator[tuple[str, dict[str, Any]]]:
    """File name and document of each contract. Nothing is connected to."""
    with tempfile.TemporaryDirectory() as folder:
        key_path = Path(folder) / "keys.json"
        KeyFile.create(key_path)
        platform = Platform(
            bus=_NoBus(),
            clock=SystemClock(),
            key_path=key_path,
            cursor_key=bytes(32),
            environment={},
            peers=dict.fromkeys(SERVICES, "http://127.0.0.1"),
            member="contracts",
            api_dsn=lambda service: NOWHERE,
            worker_dsn=lambda service: NOWHERE,
            audit_dsn=lambda service: NOWHERE,
        )
        for service in build_services(platform):
            yield f"openapi-{service.name}.json", service.app.openapi()
            yield f"asyncapi-{service.name}.json", document_of(service.name)


def text_of(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, document in contracts():
        (FOLDER / name).write_text(text_of(document), encoding="utf-8")


if __name__ == "__main__":
    main()

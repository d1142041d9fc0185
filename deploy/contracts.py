"""Write down what the code promises to others: OpenAPI and AsyncAPI of each service, under docs/contracts, and the
problems that any of them can answer with; beside them, the page on the states of a subscription.

`make contracts` writes the files; the tests compare them with the code, so that no promise changes unseen.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import libs.common
import services
from deploy import subscription_states
from deploy.local.process import build_services
from libs.common.access.keys import KeyFile
from libs.common.clock import SystemClock
from libs.common.contracts import SERVICES
from libs.common.contracts.asyncapi import document_of
from libs.common.contracts.topics import Topic
from libs.common.messaging.bus import Record, Subscription
from libs.common.runtime import Platform
from libs.common.web.problem import REGISTRY, described, known_problems

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "contracts"
NOWHERE = "postgresql+asyncpg://nobody@/nowhere"


class _NoBus:
    """Nothing runs while the contracts are read."""

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        raise NotImplementedError

    async def publish(self, records: Sequence[Record]) -> None:
        raise NotImplementedError

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> Subscription:
        raise NotImplementedError

    async def end_offsets(self, topic: str) -> dict[int, int]:
        raise NotImplementedError

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        raise NotImplementedError

    async def offsets_at(self, topic: str, instant: datetime) -> dict[int, int]:
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


def problems() -> list[dict[str, Any]]:
    """The registry that the `type` of a problem leads to: the codes of all modules that a service may be made of.

    A process of one service has loaded only its own; the others it knows from this list.
    """
    for package in (libs.common, services):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    ours = (f"{libs.common.__name__}.", f"{services.__name__}.")
    return [described(kind) for kind in known_problems().values() if kind.__module__.startswith(ours)]


def text_of(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, document in contracts():
        (FOLDER / name).write_text(text_of(document), encoding="utf-8")
    REGISTRY.write_text(text_of(problems()), encoding="utf-8")
    subscription_states.PAGE.write_text(subscription_states.page(), encoding="utf-8")


if __name__ == "__main__":
    main()

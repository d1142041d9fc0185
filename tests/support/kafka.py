"""A Kafka for the tests: started once for a run, or the one that PERENNIAL_KAFKA_BOOTSTRAP names."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from deploy.kafka.broker import KafkaBroker
from deploy.kafka.programs import missing_program
from tests.support.claimed_folder import claimed_folder

BOOTSTRAP = "PERENNIAL_KAFKA_BOOTSTRAP"
_MEMORY = Path("/dev/shm")
_MEMORY_FREE_MIN_BYTES = 2 * 1024**3


class KafkaForTests:
    """Where it answers; and the broker itself, if it is ours to stop and to kill."""

    def __init__(self, bootstrap: str, broker: KafkaBroker | None) -> None:
        self.bootstrap, self._broker = bootstrap, broker

    @property
    def is_ours(self) -> bool:
        return self._broker is not None

    @property
    def broker(self) -> KafkaBroker:
        if self._broker is None:
            pytest.skip(f"the broker that {BOOTSTRAP} names is not ours to stop")
        return self._broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaForTests]:
    """One broker for the whole run; topics and groups have names of their own. Who stops it starts it again."""
    if bootstrap := os.environ.get(BOOTSTRAP):
        yield KafkaForTests(bootstrap, None)
        return
    if missing := missing_program():
        pytest.skip(f"{missing}, and {BOOTSTRAP} names no broker")
    with running_kafka() as broker:
        yield KafkaForTests(broker.bootstrap, broker)


@contextmanager
def running_kafka() -> Iterator[KafkaBroker]:
    """A new broker, started, and gone in the end."""
    with broker_folder() as folder:
        broker = KafkaBroker(folder)
        try:
            broker.start()
            yield broker
        finally:
            broker.kill()  # what it leaves is thrown away


def broker_folder() -> AbstractContextManager[Path]:
    """The folder of a broker to be, in memory where there is room: dozens of topics are thousands of small files."""
    return claimed_folder(_home(), remove=_remove)


def _home() -> Path:
    usable = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
    if usable and shutil.disk_usage(_MEMORY).free > _MEMORY_FREE_MIN_BYTES:
        return _MEMORY / f"perennial-test-kafka-{os.getuid()}"
    return Path(__file__).resolve().parents[2] / "var" / "test-kafka"


def _remove(folder: Path) -> None:
    """A broker's working folder is its own folder: by that it is told from whoever has its number now."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").samefile(folder):
                os.kill(int(process.name), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)

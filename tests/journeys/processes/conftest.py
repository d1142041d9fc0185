"""One fleet for this folder: eight processes, a gateway, PostgreSQL, Kafka, and a collector that is a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.programs import missing_program
from tests.support.fleet import Fleet, fleet
from tests.support.otlp_receiver import OtlpReceiver

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests are shared out to several workers, those of this folder stay together, with their fleet."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.fixture(scope="package")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="package")
def processes(receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if missing := missing_program():
        pytest.skip(f"there is no Kafka: {missing}")
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with fleet(tmp_path_factory.mktemp("processes"), **collector) as processes:
        print(f"ready: {processes.stages_s}")
        yield processes

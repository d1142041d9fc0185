"""`python -m deploy.kafka` in the foreground: says when it is ready, stops when told, and says what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.kafka.broker import KafkaBroker, free_ports
from deploy.kafka.configuration import READY
from deploy.kafka.programs import KafkaFailed, missing_program
from libs.common.messaging.kafka_bus import KafkaBus

ROOT = Path(__file__).resolve().parents[3]


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    port, controller_port = free_ports(2)
    settings = {
        "PERENNIAL_KAFKA_FOLDER": str(folder),
        "PERENNIAL_KAFKA_PORT": str(port),
        "PERENNIAL_KAFKA_CONTROLLER_PORT": str(controller_port),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.kafka"],
        cwd=ROOT,
        env={**os.environ, **settings, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


async def test_it_runs_until_ctrl_c(tmp_path: Path) -> None:
    """SIGTERM is what the other tests stop their brokers with."""
    if missing := missing_program():
        pytest.skip(missing)
    process = start(tmp_path)
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith(READY))
        bus = KafkaBus(line.removeprefix(READY).strip(), client_id="perennial-test")
        assert await bus.end_offsets("none") == {}
        await bus.close()
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(20)
        assert time.monotonic() - started < 10
        assert "ERROR" not in process.stdout.read()
    finally:
        process.kill()
        process.wait()


def test_without_java_it_says_what_to_do(tmp_path: Path) -> None:
    process = start(
        tmp_path, PATH=str(tmp_path), JAVA_HOME="", PERENNIAL_KAFKA_JARS_FOLDER=str(with_jar(tmp_path))
    )
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "there is no Java" in said
    assert "JAVA_HOME" in said
    assert "Traceback" not in said


def test_without_maven_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("deploy.kafka.programs.JARS", tmp_path / "lib")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KafkaFailed, match="there is no Maven") as failed:
        KafkaBroker(tmp_path / "broker").command()
    assert failed.value.remedy is not None
    assert "PERENNIAL_KAFKA_JARS_FOLDER" in failed.value.remedy


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    process = start(tmp_path, PERENNIAL_KAFKA_PORT="none")
    said, _ = process.communicate(timeout=20)
    assert (process.returncode, "PERENNIAL_KAFKA_PORT" in said, "Traceback" in said) == (1, True, False)


def test_a_folder_without_kafka_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KafkaFailed, match="no Kafka in it"):
        KafkaBroker(tmp_path / "broker", jars_folder=tmp_path).command()


def with_jar(folder: Path) -> Path:
    (folder / "kafka_2.13-0.jar").touch()
    return folder

"""A single Kafka broker on this machine: formatted once, started, stopped, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path

from deploy.kafka.configuration import READY, Listeners, log4j_configuration, server_properties
from deploy.kafka.programs import KafkaFailed, jars, java

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
HEAP_MB = 512
_TOLD_CHARACTERS = 3_000
# A broker does little itself: one collector thread, and the quick compiler, start it sooner and keep it small.
_JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true")


class KafkaBroker:
    """Its data, its configuration and what it says lie in `folder`. Ports that are not given are free ones.

    The ports stay over a restart, so that clients find it again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        controller_port: int | None = None,
        advertised_host: str = "",
        jars_folder: Path | None = None,
        heap_mb: int = HEAP_MB,
    ) -> None:
        self.folder = folder.resolve()
        free = free_ports(2)
        self._listeners = Listeners(host, port or free[0], controller_port or free[1], advertised_host)
        self._jars_folder, self._heap_mb = jars_folder, heap_mb
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return self._listeners.bootstrap

    @property
    def log(self) -> Path:
        """What it said since it was made."""
        return self.folder / "broker.log"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def command(self) -> list[str]:
        """What starts the broker. The folder is formatted and configured by now.

        Raises: KafkaFailed.
        """
        programs = self._jars_folder or jars()
        if not any(programs.glob("kafka_*.jar")):
            raise KafkaFailed(
                "the folder has no Kafka in it",
                remedy="Name the folder of Kafka's jars in PERENNIAL_KAFKA_JARS_FOLDER, or leave it unset.",
                folder=str(programs),
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(server_properties(self.folder, self._listeners), encoding="utf-8")
        logging = self.folder / "log4j2.xml"
        logging.write_text(log4j_configuration(self._listeners), encoding="utf-8")
        run = [str(java()), *_JAVA_OPTIONS, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{programs}/*"]
        if not (self.folder / "data" / "meta.properties").exists():
            self._format([*run, "kafka.tools.StorageTool"], properties)
        return [
            *run[:1],
            f"-Xms{self._heap_mb // 2}m",
            f"-Xmx{self._heap_mb}m",
            *run[1:],
            "kafka.Kafka",
            str(properties),
        ]

    def start(self) -> None:
        """Start it and wait until it answers. Raises: KafkaFailed."""
        assert not self.is_running, "it runs already"
        command = self.command()
        with self.log.open("ab") as said:
            begin = said.tell()
            self._process = subprocess.Popen(  # noqa: S603
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await_ready(begin)
        except BaseException:  # Ctrl-C too
            self.kill()
            raise

    def stop(self) -> None:
        """As SIGTERM does: everything on disk, clients told. Harmless when it does not run."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As `kill -9` does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _format(self, tool: list[str], properties: Path) -> None:
        """Make the storage a node's own. Done once: what is formatted keeps its identity."""
        identity = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(  # noqa: S603
            [*tool, "format", "-t", identity.replace("-", "_"), "-c", str(properties), "--ignore-formatted"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=START_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise KafkaFailed(
                "Kafka could not format its storage",
                folder=str(self.folder),
                said=done.stdout[-_TOLD_CHARACTERS:],
            )

    def _await_ready(self, begin: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            ended = not self.is_running  # looked at first: what it said before it ended is then all there
            told = self._told(begin)
            if READY in told:
                return
            if ended:
                raise KafkaFailed("Kafka did not start", log=str(self.log), said=told[-_TOLD_CHARACTERS:])
            if time.monotonic() > deadline:
                raise KafkaFailed(f"Kafka was not ready within {START_TIMEOUT_S:g} s", log=str(self.log))
            time.sleep(0.05)

    def _told(self, begin: int) -> str:
        with self.log.open("rb") as said:
            said.seek(begin, os.SEEK_SET)
            return said.read().decode(errors="replace")


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now. They are held together while they are chosen, so they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()

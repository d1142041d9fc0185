"""`python -m deploy.local` on a data folder of its own: started, stopped, killed and started again by tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from deploy.local.child import Child
from deploy.local.sandbox import operator_token
from libs.common.persistence.embedded import EmbeddedPostgres
from tests.support.claimed_folder import claimed_folder

# Below the project and not in pytest's own folder: the account that PostgreSQL runs under for root must be able
# to enter it.
FOLDER = Path(__file__).resolve().parents[2] / "var" / "test-processes"
_TIMEOUT_S = 60.0


class OneProcess:
    """The four services in one process, on the embedded database and bus.

    `folder` is its data folder; what it says is added to `log`, which a start after a kill goes on with. The
    port is chosen anew at each start, unless it is given: whoever must find it again after a restart gives it.
    """

    def __init__(self, folder: Path, *, log: Path, port: int = 0, **environment: str) -> None:
        self.folder, self.log = folder, log
        settings = {
            "PERENNIAL_VAR_FOLDER": str(folder),
            "PERENNIAL_PORT": str(port),
            "PERENNIAL_DATABASE_FSYNC": "false",  # a killed process loses nothing by it, only a killed machine
        }
        self._child = Child(log=log, environment=settings | environment)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._child.start()

    def stop(self) -> None:
        """As Ctrl-C does, its PostgreSQL included."""
        self._child.stop()

    def kill(self) -> None:
        """As `kill -9` does. Its PostgreSQL lives on and is adopted by the next start."""
        self._child.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    @property
    def is_running(self) -> bool:
        return self._child.is_running

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def base_url(self) -> str:
        return self._child.base_url

    @property
    def token(self) -> str:
        """The sandbox tenant's."""
        return (self.folder / "sandbox-token").read_text(encoding="ascii").strip()

    def operator_token(self) -> str:
        """A new one, good for five minutes."""
        return operator_token(self.folder / "keys.json", now=datetime.now(UTC))

    def client(self, token: str | None = None) -> httpx.Client:
        """For the sandbox tenant, unless another token is given."""
        headers = {"authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)


@contextmanager
def one_process(log: Path, *, port: int = 0, **environment: str) -> Iterator[OneProcess]:
    """One that was not started yet, in a new folder; in the end it is stopped, and its folder is gone."""
    with private_folder() as folder:
        process = OneProcess(folder, log=log, port=port, **environment)
        try:
            yield process
        finally:
            process.kill()  # what it leaves is thrown away


def free_port() -> int:
    """One that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def private_folder() -> AbstractContextManager[Path]:
    """A data folder to be."""
    return claimed_folder(FOLDER, remove=_remove)


def _remove(folder: Path) -> None:
    """The process that runs there, if one does, then its PostgreSQL, then the data."""
    _kill_holder(folder / "run.lock")
    postgres = folder / "postgres"
    if postgres.exists():
        EmbeddedPostgres(postgres).stop()
    shutil.rmtree(folder, ignore_errors=True)


def _kill_holder(run_lock: Path) -> None:
    """A lock that is still held tells whose it is; one that is not may name a process that is somebody else's."""
    if not run_lock.exists():
        return
    with run_lock.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = lock.read().split()
            if len(words) > 1 and words[1].isdecimal():
                os.kill(int(words[1]), signal.SIGKILL)

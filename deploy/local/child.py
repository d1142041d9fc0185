"""The one process as another program's child: started, ready, stopped, killed, started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deploy.local.settings import ROOT

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
_READY = re.compile(r"^Perennial is ready after .*$.*?^ +address +(\S+)$", re.MULTILINE | re.DOTALL)
_TAIL_CHARACTERS = 2_000


class ChildFailed(Exception):
    """It did not start, or did not stop. The end of what it said is part of the message."""


class Child:
    """`python -m deploy.local` in a session of its own, so that Ctrl-C reaches its parent only.

    What it says is added to `log`. Its base address is known once it is ready, since it may choose the port.
    """

    def __init__(self, *, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._base_url: str | None = None

    @property
    def base_url(self) -> str:
        assert self._base_url is not None, "the process is ready before it is used"
        return self._base_url

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start it and wait until it is ready. One that is not, in time, is stopped. Raises: ChildFailed."""
        assert not self.is_running, "it runs already"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as said:
            begin = said.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._base_url = self._until_ready(begin, time.monotonic() + timeout_s)
        except BaseException:  # Ctrl-C too
            with suppress(ChildFailed):
                self.stop()
            raise

    def _until_ready(self, begin: int, deadline: float) -> str:
        while True:
            ended = not self.is_running  # looked at first: what it said before it ended is then all there
            told = self._told(begin)
            if ready := _READY.search(told):
                return ready[1]
            if ended:
                raise ChildFailed(f"it did not start:\n{told[-_TAIL_CHARACTERS:]}")
            if time.monotonic() > deadline:
                raise ChildFailed(f"it was not ready in time:\n{told[-_TAIL_CHARACTERS:]}")
            time.sleep(0.05)

    def _told(self, begin: int) -> str:
        with self._log.open("rb") as said:
            said.seek(begin)
            return said.read().decode(errors="replace")

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """As Ctrl-C does: cleanly, its PostgreSQL too. Harmless when it does not run. Raises: ChildFailed."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ChildFailed(f"it did not stop within {timeout_s:g} s; see {self._log}") from None

    def kill(self) -> None:
        """As `kill -9` does: at once. Its PostgreSQL lives on, and the next start adopts it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

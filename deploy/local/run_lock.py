"""One process per data folder: the lock tells a living run from an orphaned database server, which is adopted."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StillRunning(Exception):
    """Another process holds the folder. `told` is what it wrote: its process id and its address."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told


@contextmanager
def run_lock(path: Path, *, address: str) -> Iterator[None]:
    """Hold the folder while the block runs. The kernel gives it back when the process dies, however it dies.

    Raises: StillRunning.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StillRunning(os.read(handle, 200).decode(errors="replace").strip()) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} at {address}\n".encode())
        yield
    finally:
        os.close(handle)

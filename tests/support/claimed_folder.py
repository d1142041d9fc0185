"""A folder of a test run's own, and the removal of those that killed runs left behind."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_ABANDONED_AFTER_S = 60


@contextmanager
def claimed_folder(parent: Path, *, remove: Callable[[Path], None]) -> Iterator[Path]:
    """The path of a folder to be. `remove` takes it away in the end, with whatever still runs there.

    A run holds the lock beside its folder, so that several runs at once leave each other alone; the kernel gives
    it back when the run dies, and the next run removes what it left.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for lock in parent.glob("*.lock"):
        if time.time() - lock.stat().st_mtime > _ABANDONED_AFTER_S:
            with _claim(lock) as is_claimed:
                if is_claimed:
                    remove(lock.with_suffix(""))
    lock = parent / f"{secrets.token_hex(4)}.lock"
    with _claim(lock) as is_claimed:
        assert is_claimed
        folder = lock.with_suffix("")
        try:
            yield folder
        finally:
            remove(folder)


@contextmanager
def _claim(path: Path) -> Iterator[bool]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.utime(path)
        yield True
        path.unlink(missing_ok=True)

"""What can befall a deployment while it takes in usage: each fault returns when it is over, and all accepts again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.support.lossy_proxy import Trap


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` returns when the victim accepts again."""

    name: str
    strike: Callable[[], None]


def trapped(name: str, lay: Callable[[], Trap], recover: Callable[[], None]) -> Fault:
    """Somebody is killed at the very moment that the trap waits for, and comes back."""

    def strike() -> None:
        lay().await_sprung()
        recover()

    return Fault(name, strike)


def stands_still(name: str, pid: Callable[[], int], *, for_s: float) -> Fault:
    """SIGSTOP to a process and its children: connections stay open, and nothing answers."""

    def strike() -> None:
        parent = psutil.Process(pid())
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            time.sleep(for_s)
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    return Fault(name, strike)


def lost(name: str, begin: Callable[[], None], is_over: Callable[[], bool], *, within_s: float = 30) -> Fault:
    """Connections that are lost at COMMIT, so many of them."""

    def strike() -> None:
        begin()
        give_up_at = time.monotonic() + within_s
        while not is_over():
            assert time.monotonic() < give_up_at, f"{name}: nothing was committed"
            time.sleep(0.02)

    return Fault(name, strike)

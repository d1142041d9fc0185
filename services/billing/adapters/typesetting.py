"""Asking the process that sets pages: started when first needed, ended when idle, and ended when it takes too long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from services.billing.adapters.document_sheet import Sheet
from services.billing.adapters.documents.worker import read_frame, write_frame

WORKER: Final = "services.billing.adapters.documents.worker"
ROOT: Final = Path(__file__).resolve().parents[3]
IDLE_S: Final = 60.0
TIMEOUT_S: Final = 30.0
END_S: Final = 5.0


class TypesettingFailed(Exception):
    """The page could not be set; the message is the typesetter's."""


class TypesettingTimedOut(TypesettingFailed):
    pass


@dataclass(frozen=True, slots=True)
class Pages:
    """`missing` are the characters that no font has."""

    content: bytes
    missing: tuple[str, ...] = ()


@dataclass(eq=False)
class Typesetting:
    """One process at most, asked by one thread at a time. It gets no environment but what Python needs."""

    idle_s: float = IDLE_S
    timeout_s: float = TIMEOUT_S
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _process: subprocess.Popen[bytes] | None = None
    _idle: threading.Timer | None = None

    def pdf(self, sheet: Sheet) -> Pages:
        """Raises: TypesettingFailed."""
        return self._ask(sheet, {"format": "pdf", "timestamp_s": sheet.timestamp_s})

    def pictures(self, sheet: Sheet, *, pixels_per_inch: int = 96) -> list[bytes]:
        """Each page as PNG. Raises: TypesettingFailed."""
        told = self._ask(sheet, {"format": "png", "pixels_per_inch": pixels_per_inch}).content
        pages = []
        while told:
            length = int.from_bytes(told[:4], "big")
            pages.append(told[4 : 4 + length])
            told = told[4 + length :]
        return pages

    def close(self) -> None:
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def _ask(self, sheet: Sheet, wanted: dict[str, Any]) -> Pages:
        files = {name: b64encode(content).decode() for name, content in sheet.files.items()}
        request = {"template": sheet.template, "sheet": sheet.content, "files": files, **wanted}
        message = json.dumps(request).encode()
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            try:
                head, pages = self._exchange(message)
            finally:
                self._end_when_idle()
        told = json.loads(head)
        if "error" in told:
            raise TypesettingFailed(told["error"])
        return Pages(pages, tuple(told["missing"]))

    def _exchange(self, message: bytes) -> tuple[bytes, bytes]:
        process = self._running()
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self.timeout_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            write_frame(_binary(process.stdin), message)
            head = read_frame(_binary(process.stdout))
            pages = None if head is None else read_frame(_binary(process.stdout))
        except (BrokenPipeError, ConnectionResetError):
            head = pages = None
        finally:
            timer.cancel()
        if head is None or pages is None:
            self._end()
            if late.is_set():
                raise TypesettingTimedOut(f"not set within {self.timeout_s:g} s")
            raise TypesettingFailed("the process that sets pages ended")
        return head, pages

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C in a terminal is this process's to deal with
            )
        return self._process

    def _end_when_idle(self) -> None:
        self._idle = threading.Timer(self.idle_s, self.close)
        self._idle.daemon = True
        self._idle.start()

    def _end(self) -> None:
        """Called with the lock held. It ends by itself when nobody can ask any more."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _binary(pipe: Any) -> BinaryIO:
    found: BinaryIO = pipe
    return found


def _environment() -> dict[str, str]:
    """Paths and nothing else: no secret of ours. One thread, since a page of text has little for more of them."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV") if name in os.environ
    }
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1", "RAYON_NUM_THREADS": "1"}

"""How the demo ends when it cannot go on: in a sentence, with what to do."""

from __future__ import annotations


class Stopped(Exception):
    """`remedy` says what to do about it."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy

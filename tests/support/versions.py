"""Stand-ins for the check of a version that a request names."""

from __future__ import annotations

from libs.common.errors import PreconditionFailed


def any_version(version: int) -> None:
    """The request names no version."""


class OnlyVersion:
    """The request names this one."""

    def __init__(self, named: int) -> None:
        self._named = named

    def __call__(self, version: int) -> None:
        if version != self._named:
            raise PreconditionFailed("changed since it was read", version=version)

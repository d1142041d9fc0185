"""Tokens that are refused before they expire, kept in memory and read again every two seconds.

A tenant refuses its own tokens only, an operator anybody's: whoever learns the id of another tenant's token, or
of an operator's, can do nothing with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar

from libs.common.access.caller import OPERATORS, Caller
from libs.common.errors import TransientError

REFRESH_EVERY_S = 2.0

_log = logging.getLogger(__name__)


class RevocationsUnknown(TransientError):
    """The list was never read: a revoked token could pass, so none does."""

    code: ClassVar[str] = "revocations_unknown"
    title: ClassVar[str] = "Revoked tokens are not known yet"


def revocation_key(tenant: str, token_id: str) -> str:
    """What a revocation by this tenant is kept under: beside its tenant, or alone when operators said so."""
    return token_id if tenant == OPERATORS else f"{tenant}:{token_id}"


class RevokedTokens:
    """`load` returns the keys of all revocations that have not expired.

    The last list that could be read stays until the next.
    """

    def __init__(
        self, load: Callable[[], Awaitable[Iterable[str]]], *, every_s: float = REFRESH_EVERY_S
    ) -> None:
        self._load = load
        self._every_s = every_s
        self._keys: frozenset[str] | None = None
        self._failing = False

    @property
    def loaded(self) -> bool:
        """For readiness: a process that has never read the list must not serve."""
        return self._keys is not None

    def __contains__(self, caller: Caller) -> bool:
        if self._keys is None:
            raise RevocationsUnknown("the list of revoked tokens has not been read yet")
        return any(
            revocation_key(revoker, caller.token_id) in self._keys
            for revoker in (OPERATORS, caller.tenant or OPERATORS)
        )

    async def refresh(self) -> None:
        self._keys = frozenset(await self._load())

    async def run(self) -> None:
        """Refresh for ever. An outage is waited out, and told once when it begins and once when it ends."""
        while True:
            try:
                await self.refresh()
                if self._failing:
                    _log.info("the list of revoked tokens is read again")
                self._failing = False
            except Exception:
                if not self._failing:
                    _log.warning(
                        "the list of revoked tokens cannot be read; the last one stays", exc_info=True
                    )
                self._failing = True
            await asyncio.sleep(self._every_s)

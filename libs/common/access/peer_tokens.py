"""Tokens with which this service asks others: of one tenant, for one purpose, good for a minute."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from libs.common.access.keys import KeyFile
from libs.common.access.token import sign_token
from libs.common.clock import Clock

TOKEN_LIFETIME_S = 60
TOKEN_RENEWED_AFTER_S = 30
TOKENS_KEPT_MAX = 1_000


class PeerTokens:
    """A token for each tenant, made anew before it expires."""

    def __init__(self, scopes: Sequence[str], *, key_path: Path, clock: Clock) -> None:
        self._scopes, self._key_path, self._clock = list(scopes), key_path, clock
        self._tokens: dict[str, tuple[str, float]] = {}

    def of(self, tenant: str) -> str:
        """The key file is read for each new token, so that a rotated key is not used for long."""
        token, good_until = self._tokens.get(tenant, ("", 0.0))
        if time.monotonic() >= good_until:
            if len(self._tokens) >= TOKENS_KEPT_MAX:
                self._tokens.clear()
            token = sign_token(
                KeyFile.load(self._key_path).signing_key,
                tenant=tenant,
                scopes=self._scopes,
                now=self._clock.system_now(),
                lifetime_s=TOKEN_LIFETIME_S,
            )
            self._tokens[tenant] = token, time.monotonic() + TOKEN_RENEWED_AFTER_S
        return token

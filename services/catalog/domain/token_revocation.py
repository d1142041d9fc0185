"""A token id that is refused from now on, until the token would have expired by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

TOKEN_LIFETIME_MAX = timedelta(days=90)  # no token lives longer, so no revocation has to


@dataclass(frozen=True, slots=True)
class TokenRevocation:
    """It may be forgotten once `expires_at` has passed."""

    token_id: str
    expires_at: datetime


def revoke(token_id: str, *, expires_at: datetime | None, now: datetime) -> TokenRevocation:
    """Refuse the token until `expires_at`; when that is unknown, or too far off, as long as any token lives.

    Too early an expiry would let the token in again, so when in doubt leave it out.
    """
    latest = now + TOKEN_LIFETIME_MAX
    return TokenRevocation(token_id, latest if expires_at is None else min(expires_at, latest))

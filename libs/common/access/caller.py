"""Who is asking: what a verified token says, and nothing that the request says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

OPERATORS = "00000000-0000-0000-0000-000000000000"
"""The tenant under which operators' own transactions, events and idempotency keys stand; no business has it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified token. `tenant` is None only for operators; `customer` is set on portal tokens only.

    `token_id` is what is revoked, and what the change log names. Ids of a foreign issuer's tokens begin with
    a digest of its address, so that no issuer can make a token that passes for another's.
    """

    tenant: str | None
    scopes: frozenset[str]
    customer: str | None
    token_id: str
    expires_at: datetime

    @property
    def operator(self) -> bool:
        return "operate" in self.scopes

    @property
    def actor(self) -> str:
        """How the change log names who did it."""
        return f"token:{self.token_id}"

"""A token is refused from now on, by every service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.token_revocation import TokenRevocation, revoke


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """Leave `expires_at` out unless it is known for certain."""

    token_id: str
    expires_at: datetime | None = None


async def revoke_token(command: RevokeToken, *, uow: UnitOfWork, clock: Clock) -> TokenRevocation:
    """Refuse the token id among the unit of work's tenant's tokens; on behalf of operators, among all.

    Nobody can tell whether there is such a token, so an unknown one is revoked as well.

    Revoking it again says nothing new, unless it is to be remembered for longer.
    Emits: TokenRevoked, on behalf of whoever asked.
    """
    now = clock.system_now()
    revocation = revoke(command.token_id, expires_at=command.expires_at, now=now)
    if await uow.revoked_tokens.put(revocation):
        uow.record("token.revoked", revocation.token_id)
        event = events.token_revoked(revocation, tenant=uow.tenant, now=now)
        uow.outbox.append(event, key=revocation.token_id)
    return revocation

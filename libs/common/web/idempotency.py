"""Idempotency-Key: the same request again gets the same answer again, and does nothing twice.

The answer is stored in the transaction that did the work, so that either both are there or neither. Only
successes are stored: a refused request may be corrected, and an outage tried again, with the same key. A key
is one tenant's, for one route, and is kept for seven days.
Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Protocol

import msgspec
from sqlalchemy import LargeBinary, bindparam, column, func, select, table, text
from sqlalchemy.dialects.postgresql import JSONB, UUID, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import DateTime, Integer, Text

from libs.common.errors import Conflict, InvalidInput
from libs.common.web.problem import BadRequest

KEPT_FOR = timedelta(days=7)
KEY_LENGTH_MAX = 255
REPLAYED = "idempotent-replayed"

_BARE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_KEYS = table(
    "idempotency_key",
    column("tenant", UUID(as_uuid=False)),
    column("route", Text),
    column("key", Text),
    column("fingerprint", LargeBinary),
    column("status", Integer),
    column("headers", JSONB),
    column("body", LargeBinary),
    column("expires_at", DateTime(timezone=True)),
)


class IdempotencyKeyRequired(BadRequest):
    """A request that makes money or a contract must be safe to repeat."""

    code: ClassVar[str] = "idempotency_key_required"
    title: ClassVar[str] = "An idempotency key is needed"


class IdempotencyKeyInvalid(BadRequest):
    code: ClassVar[str] = "idempotency_key_invalid"
    title: ClassVar[str] = "The idempotency key cannot be used"


class IdempotencyKeyReused(InvalidInput):
    """The key belongs to another request: its body, or its address, differed."""

    code: ClassVar[str] = "idempotency_key_reused"
    title: ClassVar[str] = "The idempotency key was used for something else"


class IdempotencyInProgress(Conflict):
    """The first request with this key has not ended yet."""

    code: ClassVar[str] = "idempotency_in_progress"
    title: ClassVar[str] = "The same request is under way"


class TenantTransaction(Protocol):
    """What a unit of work offers here: one transaction, working for one tenant at a time."""

    @property
    def connection(self) -> AsyncConnection: ...

    @property
    def tenant(self) -> str: ...

    @property
    def actor(self) -> str: ...

    async def become(self, tenant: str, actor: str) -> None: ...


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An answer as it is kept: everything that the client sees of it, but for ids and dates."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    replayed: bool = False


def read_key(given: str) -> str:
    """The key itself, whether it came bare or as the quoted string of the draft.

    Raises: IdempotencyKeyInvalid.
    """
    trimmed = given.strip()
    quoted = _QUOTED.fullmatch(trimmed)
    bare = trimmed if _BARE.fullmatch(trimmed) else ""
    key = re.sub(r"\\(.)", r"\1", quoted.group(1)) if quoted else bare
    if not 1 <= len(key) <= KEY_LENGTH_MAX:
        raise IdempotencyKeyInvalid(
            f"an idempotency key is 1 to {KEY_LENGTH_MAX} printable ASCII characters, quoted or not",
            remedy="Make a new UUID for each new request, and keep it for its repeats.",
        )
    return key


def fingerprint_of(*parts: str, body: bytes) -> bytes:
    """What must be the same for a request to be the same; the spelling of a JSON body does not count."""
    try:
        content = msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    except msgspec.DecodeError:
        content = body
    told = "".join(f"{len(part)}:{part}" for part in parts).encode()
    return hashlib.sha256(told + b"\n" + content).digest()


async def run_once(
    uow: TenantTransaction,
    *,
    route: str,
    key: str,
    fingerprint: bytes,
    work: Callable[[], Awaitable[StoredResponse]],
) -> StoredResponse:
    """Do `work` and keep its answer, or give the answer that was kept. Runs inside the caller's transaction.

    The lock goes with the transaction, so that a process that dies leaves nothing locked.
    Raises: IdempotencyInProgress, IdempotencyKeyReused, and whatever `work` raises.
    """
    tenant, actor = uow.tenant, uow.actor
    lock = {"lock": _lock_number(tenant, route, key)}
    if not (await uow.connection.execute(_TRY_LOCK, lock)).scalar_one():
        raise _in_progress()
    # A statement of its own: one that also took the lock would look at the rows as they were before it.
    kept = await _find(uow.connection, tenant, route, key)
    if kept is not None:
        if kept.fingerprint != fingerprint:
            raise IdempotencyKeyReused(
                "this idempotency key was used for another request",
                remedy="Make a new key for a new request.",
            )
        return StoredResponse(
            status=kept.status,
            headers={**kept.headers, REPLAYED: "true"},
            body=bytes(kept.body),
            replayed=True,
        )
    answer = await work()
    if 200 <= answer.status < 300:
        if uow.tenant != tenant:  # the work went on for another tenant, as making a tenant does
            await uow.become(tenant, actor)
        await _keep(uow.connection, tenant, route, key, fingerprint, answer)
    return answer


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes


_FIND = select(_KEYS.c.fingerprint, _KEYS.c.status, _KEYS.c.headers, _KEYS.c.body).where(
    _KEYS.c.tenant == bindparam("tenant"),
    _KEYS.c.route == bindparam("route"),
    _KEYS.c.key == bindparam("key"),
    _KEYS.c.expires_at > func.now(),
)


async def _find(connection: AsyncConnection, tenant: str, route: str, key: str) -> _Kept | None:
    row = (await connection.execute(_FIND, {"tenant": tenant, "route": route, "key": key})).first()
    return _Kept(row.fingerprint, row.status, row.headers, row.body) if row else None


async def _keep(
    connection: AsyncConnection, tenant: str, route: str, key: str, fingerprint: bytes, answer: StoredResponse
) -> None:
    """An expired row of the same key is written over; one that is still good belongs to somebody quicker."""
    row = {
        "fingerprint": fingerprint,
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body,
        "expires_at": func.now() + KEPT_FOR,
    }
    statement = insert(_KEYS).values(tenant=tenant, route=route, key=key, **row)
    written = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant", "route", "key"], set_=row, where=_KEYS.c.expires_at <= func.now()
        )
    )
    if written.rowcount != 1:
        raise _in_progress()


def _lock_number(tenant: str, route: str, key: str) -> int:
    """64 bits: a chance meeting of two keys costs one of them a 409, and a repeat then succeeds."""
    told = "\n".join((tenant, route, key)).encode()
    return int.from_bytes(hashlib.sha256(told).digest()[:8], "big", signed=True)


def _in_progress() -> IdempotencyInProgress:
    return IdempotencyInProgress(
        "a request with this idempotency key is under way", remedy="Wait a moment and send it again."
    )

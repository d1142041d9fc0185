"""The accounts that tenants have at gateways, with their secrets: a file of the operator's, never a row of ours.

    {"stripe": [{"tenant": "0197…", "account": "main", "secret_key": "sk_live_…", "webhook_secrets": ["whsec_…"]}]}

It is read again when it has changed, so that a secret is exchanged without a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from libs.common.errors import ServiceError
from services.billing.domain.payment import GatewayAccountUnknown

log = logging.getLogger(__name__)

BYTES_MAX = 4 * 1024 * 1024

_Secret = Annotated[str, StringConstraints(min_length=16, max_length=500, pattern=r"^[!-~]+$")]


class GatewayAccountsInvalid(ServiceError):
    """Told without a word of what the file holds."""

    code = "gateway_accounts_invalid"
    title = "The file of the gateways' accounts cannot be used"


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """`webhook_secrets`: more than one while one is exchanged."""

    tenant: str
    code: str
    secret_key: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)

    @property
    def mode(self) -> Literal["live", "sandbox"]:
        """Whether the account moves money, as its key says."""
        return "sandbox" if "_test_" in self.secret_key else "live"


class _Account(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tenant: UUID
    account: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")] = "main"
    secret_key: Annotated[_Secret, StringConstraints(pattern=r"^[rs]k_(test|live)_[A-Za-z0-9_]+$")]
    webhook_secrets: Annotated[list[_Secret], Field(max_length=4)] = []


class _Accounts(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    stripe: list[_Account] = []


_Known = Mapping[tuple[str, str], GatewayAccount]


class GatewayAccounts:
    """The accounts at Stripe by tenant and code. Without a file there are none."""

    def __init__(self, path: Path | None) -> None:
        """Raises: GatewayAccountsInvalid."""
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._accounts: _Known = {}
        if path is not None:
            self._accounts, self._stamp = _read(path), _stamp(path)

    def find(self, tenant: str, code: str | None) -> GatewayAccount | None:
        """The account of that code; without one, the tenant's only account."""
        accounts = self._newest()
        if code is not None:
            return accounts.get((tenant, code))
        mine = [account for (of, _), account in accounts.items() if of == tenant]
        return mine[0] if len(mine) == 1 else None

    def get(self, tenant: str, code: str | None) -> GatewayAccount:
        """Raises: GatewayAccountUnknown."""
        found = self.find(tenant, code)
        if found is None:
            raise GatewayAccountUnknown(
                "no such account is configured for this tenant",
                pointer="/account",
                remedy="Name one of the tenant's accounts; operators configure them.",
            )
        return found

    def _newest(self) -> _Known:
        """A file that cannot be read any more changes nothing: payments go on with what was known."""
        if self._path is None:
            return self._accounts
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._accounts, self._stamp = _read(self._path), stamp
        except (OSError, GatewayAccountsInvalid) as error:
            log.error("gateway accounts not read again", extra={"reason": type(error).__name__})
        return self._accounts


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _read(path: Path) -> _Known:
    """What is wrong is told by its place, since pydantic and the JSON parser would show the text itself."""
    try:
        with path.open("rb") as file:
            text = file.read(BYTES_MAX + 1)
        given = _Accounts.model_validate_json(text[:BYTES_MAX])
    except OSError as error:
        raise _invalid([error.strerror or "it cannot be read"]) from None
    except ValidationError as error:
        places = [
            ".".join(map(str, fault["loc"])) or "the whole" for fault in error.errors(include_url=False)
        ]
        raise _invalid(places) from None
    accounts = {
        (str(one.tenant), one.account): GatewayAccount(
            tenant=str(one.tenant),
            code=one.account,
            secret_key=one.secret_key,
            webhook_secrets=tuple(one.webhook_secrets),
        )
        for one in given.stripe
    }
    if len(accounts) != len(given.stripe):
        raise _invalid(["an account of a tenant stands there twice"])
    return accounts


def _invalid(places: Sequence[str]) -> GatewayAccountsInvalid:
    return GatewayAccountsInvalid(
        f"the file of the gateways' accounts cannot be used: {'; '.join(places[:10])}",
        remedy="See docs/payments.md for what it holds.",
    )

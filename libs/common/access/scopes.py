"""What a token may be allowed to do: the list of scopes, and the check of one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from libs.common.access.caller import Caller
from libs.common.errors import Forbidden, InvalidInput

OPERATE = "operate"

SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "catalog:read": "See products, plans, prices, features and coupons.",
        "catalog:write": "Make and publish products, plans, prices and features; make and redeem coupons.",
        "subscriptions:read": "See customers, subscriptions and subject bindings.",
        "subscriptions:write": "Make and change customers, subscriptions and subject bindings.",
        "usage:read": "See meters, usage and what was rejected.",
        "usage:write": "Define meters and send usage.",
        "billing:read": "See sellers, invoices, payments and the ledger.",
        "billing:write": "Change sellers, payment methods and invoices.",
        "clocks:read": "See test clocks and what is due on them.",
        "clocks:write": "Make and move test clocks of a sandbox tenant.",
        "tokens:write": "Revoke tokens.",
        OPERATE: "Run the deployment: tenants, revoked tokens, dead letters, the audit.",
    }
)


class ScopeMissing(Forbidden):
    """The token is good, but it was not issued for this."""

    code: ClassVar[str] = "scope_missing"
    title: ClassVar[str] = "The token lacks a scope"


class ScopeUnknown(InvalidInput):
    """A token was asked for with a scope that there is not."""

    code: ClassVar[str] = "scope_unknown"
    title: ClassVar[str] = "There is no such scope"


def require(caller: Caller, scope: str) -> None:
    """No scope implies another: what may write need not be able to read.

    Raises: ScopeMissing, which names the scope.
    """
    if scope not in caller.scopes:
        raise ScopeMissing(
            f"this needs the scope {scope}",
            scope=scope,
            remedy=f"Ask for a token that has the scope {scope}.",
        )

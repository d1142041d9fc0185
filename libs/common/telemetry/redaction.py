"""What must never stand in a log line or a trace: tokens, signing secrets, passwords, bound parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

DEPTH_MAX = 4

# One alternative per kind of secret; what is kept of a match is only the group that names the kind.
_SECRET = re.compile(
    r"""
      (?P<bearer>  \b(?:bearer|basic)\s+ ) [A-Za-z0-9._~+/=-]{8,}
    | (?P<field>   \b(?:authorization|proxy-authorization|cookie|set-cookie|x-api-key)["']?\s*[:=]\s*["']? )
                   (?!\[redacted\]) [^\s"',;}\]]+ (?:\s+[A-Za-z0-9._~+/=-]{8,})?
    | (?P<whsec>   \bwhsec_ ) [A-Za-z0-9+/=_-]+
    | (?P<jwt>     \beyJ ) [A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?
    | (?P<address> \b[a-z][a-z0-9+.-]*://[^\s:/@]*: ) [^\s/@]+ (?=@)
    | (?P<named>   \b(?:password|passwd|secret|token|api_?key|private_?key|signature|sig)
                   ["']?\s*[:=]\s*["']? )
                   (?!\[redacted\]) [^\s"'&,;)}\]]+
    | (?P<sql>     \bpassword\s+' ) [^']*
    | (?P<bound>   \[parameters:\s ) .*? (?=\]\s*(?:\n|$|\(Background))
    | (?P<pem>     -----BEGIN\ [A-Z ]*PRIVATE\ KEY----- ) .*? (?=-----END|\Z)
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)

# Fields of a log line whose value is a secret whatever it looks like.
_SECRET_FIELD = re.compile(
    r"authorization|password|passwd|secret|api_?key|private_?key|cookie|bearer|whsec|(?:^|_)token$",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """The text with every secret in it replaced, its kind left readable."""
    return _SECRET.sub(lambda match: f"{match.group(match.lastgroup or 0)}{REDACTED}", text)


def redact_field(name: str, value: Any, depth: int = 0) -> Any:
    """The value of a named field, fit to be written: redacted throughout, cut off below `DEPTH_MAX`."""
    if _SECRET_FIELD.search(name):
        return REDACTED
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): redact_field(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_field("", item, depth + 1) for item in value]
    return redact(str(value))

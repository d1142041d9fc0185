"""Strong entity tags made from a row's version, and the preconditions that name them (RFC 9110, RFC 6585)."""

from __future__ import annotations

import re
from typing import ClassVar

from starlette.requests import Request

from libs.common.errors import PreconditionFailed, PreconditionRequired
from libs.common.web.problem import BadRequest

_TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
_LIST = re.compile(rf"\s*{_TAG}\s*(?:,\s*{_TAG}\s*)*")
_TAGS = re.compile(_TAG)

NAMED_BY_VERSION = frozenset({"PATCH", "PUT", "DELETE"})


class VersionRequired(PreconditionRequired):
    """Two people who change the same thing must not overwrite each other unseen."""

    code: ClassVar[str] = "version_required"
    title: ClassVar[str] = "A version must be named"


class VersionChanged(PreconditionFailed):
    """The thing is no longer as it was when its ETag was read."""

    code: ClassVar[str] = "version_changed"
    title: ClassVar[str] = "Changed since it was read"


class PreconditionMalformed(BadRequest):
    code: ClassVar[str] = "precondition_malformed"
    title: ClassVar[str] = "The precondition cannot be read"


def etag_of(version: int) -> str:
    return f'"{version}"'


def check_named(request: Request) -> None:
    """Changing requests must name a version; a PUT that makes something says `If-None-Match: *` instead.

    Raises: VersionRequired, PreconditionMalformed.
    """
    names = ("if-match", "if-none-match") if request.method == "PUT" else ("if-match",)
    given = [_tags(request, name) for name in names]
    if request.method in NAMED_BY_VERSION and not any(given):
        raise VersionRequired(
            "this request must name the version that it changes",
            remedy="Read the thing first and send its ETag in the header If-Match.",
        )


def check_matches(request: Request, version: int | None) -> None:
    """`version` is that of the thing as it stands, locked; None when there is none.

    Raises: VersionChanged, PreconditionMalformed.
    """
    wanted, unwanted = _tags(request, "if-match"), _tags(request, "if-none-match")
    present = {"*", etag_of(version)} if version is not None else set()
    if (wanted and not wanted & present) or (unwanted and unwanted & present):
        raise VersionChanged(
            "the thing is not in the version that the request names",
            remedy="Read it again, decide again, and send its new ETag.",
        )


def is_unchanged(request: Request, version: int) -> bool:
    """Whether a reader has this version already; weak tags count, as they are compared weakly here."""
    return is_known(request, etag_of(version))


def is_known(request: Request, tag: str) -> bool:
    """Whether a reader has what this tag names already."""
    tags = {tag.removeprefix("W/") for tag in _tags(request, "if-none-match")}
    return bool(tags & {"*", tag})


def _tags(request: Request, name: str) -> set[str]:
    """Weak tags stay as they are: they never equal a strong one."""
    given = ", ".join(request.headers.getlist(name)).strip()
    if given == "*":
        return {"*"}
    if given and not _LIST.fullmatch(given):
        raise PreconditionMalformed(
            f"the header {name} holds no list of entity tags", remedy='Send the ETag as it came: "3".'
        )
    return set(_TAGS.findall(given))

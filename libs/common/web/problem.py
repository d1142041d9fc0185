"""Errors as RFC 9457 problems: the one table of HTTP statuses, and what of an error a caller may see."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel, Field
from starlette.responses import Response

from libs.common.errors import (
    Conflict,
    DomainError,
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    RuleViolation,
    ServiceError,
    TooLarge,
    TooManyRequests,
    TransientError,
    Unauthenticated,
)
from libs.common.money import Money
from libs.common.persistence.outage import is_lost_race, is_outage

MEDIA_TYPE = "application/problem+json"
FACT_LENGTH_MAX = 200
FACT_WORDS_MAX = 20
DETAIL_LENGTH_MAX = 500
ERRORS_MAX = 50
REGISTRY = Path(__file__).with_name("problems.json")

_log = logging.getLogger(__name__)


class BadRequest(InvalidInput):
    """The request itself is malformed, before anything in it is looked at."""

    code: ClassVar[str] = "bad_request"
    title: ClassVar[str] = "The request is malformed"


class RequestTimedOut(DomainError):
    """The body did not arrive in time."""

    code: ClassVar[str] = "request_timed_out"
    title: ClassVar[str] = "The request took too long to arrive"


class RouteUnknown(NotFound):
    """No such path is served here."""

    code: ClassVar[str] = "route_unknown"
    title: ClassVar[str] = "There is no such route"


class MethodNotAllowed(DomainError):
    """The path is served, but not with this method; the header Allow names those that are."""

    code: ClassVar[str] = "method_not_allowed"
    title: ClassVar[str] = "The method is not allowed here"


class UnsupportedMedia(DomainError):
    """The body is not of a media type that this route reads."""

    code: ClassVar[str] = "unsupported_media_type"
    title: ClassVar[str] = "The media type is not supported"


class DatabaseUnavailable(TransientError):
    """The database cannot be reached, or broke off. Whether the last change was saved may be unknown."""

    code: ClassVar[str] = "database_unavailable"
    title: ClassVar[str] = "The database cannot be reached"


class LostRace(TransientError):
    """Others changed the same things at the same time, several times in a row."""

    code: ClassVar[str] = "lost_race"
    title: ClassVar[str] = "Others were quicker"


class ServiceUnavailable(TransientError):
    """What the gateway answers where none of a service's processes does. What was asked may have been done."""

    code: ClassVar[str] = "service_unavailable"
    title: ClassVar[str] = "The service cannot be reached"


class InternalError(ServiceError):
    """A mistake of ours. The trace id leads to the log entry that tells what it was."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"


STATUSES: Mapping[type[ServiceError], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    RequestTimedOut: 408,
    Conflict: 409,
    PreconditionFailed: 412,
    TooLarge: 413,
    UnsupportedMedia: 415,
    InvalidInput: 422,
    RuleViolation: 422,
    DomainError: 422,
    PreconditionRequired: 428,
    TooManyRequests: 429,
    ServiceError: 500,
    TransientError: 503,
}


class ProblemError(BaseModel):
    """One thing wrong: in the body at `pointer` (RFC 6901), or in the parameter `parameter` of `in`."""

    pointer: str | None = Field(default=None, examples=["/prices/0/amount"])
    parameter: str | None = Field(default=None, examples=["limit"])
    in_: str | None = Field(default=None, alias="in", examples=["query"])
    detail: str = Field(examples=["is required"])


class Problem(BaseModel):
    """RFC 9457. Programs read `code`, which is stable; people read the rest."""

    type: str = Field(examples=["/problems/scope_missing"])
    title: str = Field(examples=["The token lacks a scope"])
    status: int = Field(examples=[403])
    detail: str = Field(examples=["this needs the scope billing:read"])
    code: str = Field(examples=["scope_missing"])
    trace_id: str = Field(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    remedy: str | None = Field(default=None, examples=["Ask for a token that has the scope billing:read."])
    errors: list[ProblemError] | None = None
    facts: dict[str, Any] | None = Field(default=None, examples=[{"scope": "billing:read"}])


class ProblemResponse(Response):
    media_type = MEDIA_TYPE


def status_of(error: ServiceError | type[ServiceError]) -> int:
    """The status of the nearest ancestor in the table."""
    kind = error if isinstance(error, type) else type(error)
    return next(STATUSES[ancestor] for ancestor in kind.__mro__ if ancestor in STATUSES)


def problem_of(
    error: ServiceError,
    *,
    trace_id: str,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """`error` as its caller may see it. Facts of outages and of refused tokens stay in the log."""
    status = status_of(error)
    found = [*errors, *getattr(error, "errors", ())]
    if error.pointer is not None and not found:
        found = [{"pointer": error.pointer, "detail": error.message}]
    hidden = isinstance(error, TransientError | Unauthenticated) or status >= 500
    facts = (
        {}
        if hidden
        else {name: shown for name, fact in error.facts.items() if (shown := _shown(fact)) is not None}
    )
    body: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": error.title,
        "status": status,
        "detail": _cut(error.message, DETAIL_LENGTH_MAX),
        "code": error.code,
        "trace_id": trace_id,
    }
    if error.remedy is not None:
        body["remedy"] = error.remedy
    if found:
        body["errors"] = found[:ERRORS_MAX]
    if facts:
        body["facts"] = facts
    return ProblemResponse(
        msgspec.json.encode(body), status_code=status, headers={**_headers(error, status), **(headers or {})}
    )


def problem_from(error: Exception, *, trace_id: str) -> ProblemResponse:
    """Any exception as a problem; what is not ours is an outage, a lost race, or a mistake of ours."""
    if isinstance(error, ServiceError):
        known = error
    elif is_lost_race(error):
        known = LostRace("others changed the same things at the same time", remedy="Send the request again.")
    elif is_outage(error):
        known = DatabaseUnavailable(
            "the database cannot be reached",
            remedy="Send the request again, with the same Idempotency-Key if it had one.",
        )
    else:
        known = InternalError(
            "the request could not be carried out", remedy="Tell the operator the trace id of this answer."
        )
    status = status_of(known)
    if status == 500:
        _log.error("a request failed (trace %s)", trace_id, exc_info=error)
    elif status == 503:
        _log.warning("a request met an outage (trace %s): %s", trace_id, known, exc_info=error)
    return problem_of(known, trace_id=trace_id)


def known_problems() -> dict[str, type[ServiceError]]:
    """Every code that this process can answer with, and the class behind it."""
    # Two services may have a code in common: whichever was loaded first, the same class speaks for it.
    kinds = sorted(
        descendants(ServiceError), key=lambda kind: (kind.code, bool(kind.__doc__), kind.__module__)
    )
    return {kind.code: kind for kind in kinds}


@cache
def registered_problems() -> dict[str, dict[str, Any]]:
    """Every code that any of the services can answer with, as `described`; whatever of them this process has loaded.

    `make contracts` writes them down.
    """
    found: dict[str, dict[str, Any]] = {each["code"]: each for each in json.loads(REGISTRY.read_bytes())}
    found.update((code, described(kind)) for code, kind in known_problems().items())
    return dict(sorted(found.items()))


def described(kind: type[ServiceError]) -> dict[str, Any]:
    """A code's entry in the registry that `type` leads to."""
    about = " ".join((kind.__dict__.get("__doc__") or "").split())
    described = {"code": kind.code, "title": kind.title, "status": status_of(kind)}
    return {**described, "description": about} if about else described


def descendants(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """The class itself and everything derived from it, in this process."""
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


def _headers(error: ServiceError, status: int) -> dict[str, str]:
    if status == 401:
        told = "" if error.code == "token_missing" else ', error="invalid_token"'
        return {"www-authenticate": f'Bearer realm="perennial"{told}'}
    if status == 403 and "scope" in error.facts:
        return {"www-authenticate": f'Bearer error="insufficient_scope", scope="{error.facts["scope"]}"'}
    if status in (429, 503):
        return {"retry-after": str(error.facts.get("retry_after_s", 1))}
    return {}


def _shown(fact: object) -> Any:
    """Scalars, in the spelling that the API uses elsewhere, and short lists of words; anything else is ours alone."""
    match fact:
        case bool() | int():
            return fact
        case str():
            return _cut(fact, FACT_LENGTH_MAX)
        case Decimal():
            return _cut(format(fact, "f"), FACT_LENGTH_MAX)
        case Money():
            return {"amount": format(fact.to_decimal(), "f"), "currency": fact.currency}
        case datetime():
            return fact.isoformat().replace("+00:00", "Z")
        case date():
            return fact.isoformat()
        case list() if len(fact) <= FACT_WORDS_MAX and all(isinstance(word, str) for word in fact):
            return [_cut(word, FACT_LENGTH_MAX) for word in fact]
        case _:
            return None


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 1] + "…"

"""The one tree of errors: what was refused, and what may succeed later.

Leaves live beside the code that raises them. Each has a stable `code` for programs, a constant `title` for
people, and takes its facts as keywords. Only `web/problem.py` knows which HTTP status belongs to a branch.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypedDict


class InputError(TypedDict):
    """One thing wrong with the input: a JSON pointer (RFC 6901) to the place, and what is wrong there."""

    pointer: str
    detail: str


class ServiceError(Exception):
    """Anything a service says no to. `pointer` leads to the field at fault, `remedy` says what to do."""

    code: ClassVar[str] = "service_error"
    title: ClassVar[str] = "The service could not do this"

    def __init__(
        self, message: str, *, pointer: str | None = None, remedy: str | None = None, **facts: object
    ) -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer
        self.remedy = remedy
        self.facts: Mapping[str, object] = facts

    def __str__(self) -> str:
        if not self.facts:
            return self.message
        told = ", ".join(f"{name}={fact!r}" for name, fact in self.facts.items())
        return f"{self.message} ({told})"


class DomainError(ServiceError):
    """Understood and refused: the same request will be refused again."""

    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "Refused"


class NotFound(DomainError):
    code: ClassVar[str] = "not_found"
    title: ClassVar[str] = "Not found"


class Conflict(DomainError):
    """The present state of the thing does not allow it."""

    code: ClassVar[str] = "conflict"
    title: ClassVar[str] = "In conflict with the present state"


class RuleViolation(DomainError):
    """Well formed, but against a rule of the business."""

    code: ClassVar[str] = "rule_violation"
    title: ClassVar[str] = "Against a rule"


class InvalidInput(DomainError):
    """The input cannot be read; `errors` lists everything wrong with it, not only the first thing."""

    code: ClassVar[str] = "invalid_input"
    title: ClassVar[str] = "Invalid input"

    def __init__(
        self,
        message: str,
        *,
        errors: Sequence[InputError] = (),
        pointer: str | None = None,
        remedy: str | None = None,
        **facts: object,
    ) -> None:
        super().__init__(message, pointer=pointer, remedy=remedy, **facts)
        self.errors: tuple[InputError, ...] = tuple(errors)


class Unauthenticated(DomainError):
    code: ClassVar[str] = "unauthenticated"
    title: ClassVar[str] = "Who is asking is not known"


class Forbidden(DomainError):
    code: ClassVar[str] = "forbidden"
    title: ClassVar[str] = "Not allowed"


class PreconditionFailed(DomainError):
    """The thing has changed since the caller read it."""

    code: ClassVar[str] = "precondition_failed"
    title: ClassVar[str] = "Changed since it was read"


class PreconditionRequired(DomainError):
    code: ClassVar[str] = "precondition_required"
    title: ClassVar[str] = "A version must be named"


class TooLarge(DomainError):
    code: ClassVar[str] = "too_large"
    title: ClassVar[str] = "Too large"


class TooManyRequests(DomainError):
    code: ClassVar[str] = "too_many_requests"
    title: ClassVar[str] = "Too many requests"


class TransientError(ServiceError):
    """May succeed later without any change: an outage, a time-out, a lost race."""

    code: ClassVar[str] = "temporarily_unavailable"
    title: ClassVar[str] = "Temporarily unavailable"

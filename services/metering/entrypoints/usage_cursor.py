"""Where a page of an answer about usage ended. The cursor keeps the question's time, so that "this month" stays the same
month while its pages are read, and is good for no other question."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from starlette.requests import Request

from libs.common.paging import Position
from libs.common.web.pagination import CursorInvalid, read_cursor, tell_cursor
from services.metering.application.usage_question import UsageQuestion

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def continued(
    request: Request, cursor: str | None, question: UsageQuestion
) -> tuple[UsageQuestion, Position | None]:
    """The question with its time, and where to go on. Raises: CursorInvalid."""
    if cursor is None:
        return question, None
    position = read_cursor(request, cursor)
    try:
        start_us, end_us, asked, id = position.id.split(".")
        start, end = _instant(start_us), _instant(end_us)
    except (ValueError, OverflowError):
        raise _other_question() from None
    if (
        asked != _fingerprint(question)
        or question.start not in (None, start)
        or question.end not in (None, end)
    ):
        raise _other_question()
    return replace(question, start=start, end=end), Position(position.created_at, id)


def following(
    request: Request, question: UsageQuestion, start: datetime, end: datetime, after: Position | None
) -> tuple[str | None, dict[str, str]]:
    """The cursor of the page that begins behind `after`, and the header that leads there."""
    if after is None:
        return None, {}
    times = (str((at - _EPOCH) // _MICROSECOND) for at in (start, end))
    id = ".".join((*times, _fingerprint(question), after.id))
    return tell_cursor(request, Position(after.created_at, id))


def _fingerprint(question: UsageQuestion) -> str:
    """Of all that is asked but the time, which the cursor says."""
    return sha256(repr(replace(question, start=None, end=None)).encode()).hexdigest()[:16]


def _instant(microseconds: str) -> datetime:
    return _EPOCH + int(microseconds) * _MICROSECOND


def _other_question() -> CursorInvalid:
    return CursorInvalid(
        "the cursor belongs to another question",
        remedy="Send the parameters of the page before along with its next_cursor.",
    )

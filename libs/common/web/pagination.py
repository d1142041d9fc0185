"""Cursor pages over HTTP: opaque signed cursors, query parameters, the body, the Link header (RFC 8288)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from libs.common.paging import PAGE_LENGTH, PAGE_LENGTH_MAX, PageRequest, Position, Slice
from libs.common.web.bodies import Instant
from libs.common.web.context import caller_of
from libs.common.web.problem import BadRequest

B = TypeVar("B", bound=BaseModel)

CURSOR_LENGTH_MAX = 512
_SIGNATURE_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class CursorInvalid(BadRequest):
    """The cursor was not given out for this list. Cursors are opaque: they are only ever handed back."""

    code: ClassVar[str] = "cursor_invalid"
    title: ClassVar[str] = "The cursor is invalid"


class Page(BaseModel, Generic[B]):
    """One page, oldest first. `next_cursor` is null on the last; the header Link holds it ready to follow."""

    model_config = ConfigDict(defer_build=True)

    data: list[B]
    next_cursor: str | None = Field(default=None, examples=["W10.Zm9vYmFy"])

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"{params[0].__name__.removesuffix('Body')}Page"


class Cursors:
    """Signs positions. A cursor is good for one tenant, one customer under a portal token, and one path."""

    def __init__(self, key: bytes) -> None:
        assert len(key) >= 16, "a cursor key has at least 128 bits"
        self._key = key

    def encode(self, position: Position, *, place: str) -> str:
        told = msgspec.json.encode([(position.created_at - _EPOCH) // _MICROSECOND, position.id])
        return f"{_base64url(told)}.{_base64url(self._signature(told, place))}"

    def decode(self, cursor: str, *, place: str) -> Position:
        """Raises: CursorInvalid."""
        try:
            told, signature = (_from_base64url(part) for part in cursor.split("."))
            if len(cursor) > CURSOR_LENGTH_MAX or not hmac.compare_digest(
                signature, self._signature(told, place)
            ):
                raise ValueError("signed by somebody else, or for another list")
            created_us, id = msgspec.json.decode(told, type=tuple[int, str])
        except ValueError:
            raise CursorInvalid(
                "the cursor was not given out for this list",
                remedy="Start without a cursor, and pass next_cursor on as it came.",
            ) from None
        return Position(created_at=_EPOCH + created_us * _MICROSECOND, id=id)

    def _signature(self, told: bytes, place: str) -> bytes:
        return hmac.digest(self._key, told + b"\n" + place.encode(), hashlib.sha256)[:_SIGNATURE_BYTES]


def page_request(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=PAGE_LENGTH_MAX, description="How many at most.")] = PAGE_LENGTH,
    cursor: Annotated[
        str | None, Query(max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of the page before.")
    ] = None,
    created_from: Annotated[Instant | None, Query(description="Created at this instant or later.")] = None,
    created_to: Annotated[Instant | None, Query(description="Created before this instant.")] = None,
) -> PageRequest:
    """Raises: CursorInvalid."""
    after = read_cursor(request, cursor) if cursor is not None else None
    return PageRequest(limit=limit, after=after, created_from=created_from, created_to=created_to)


PageDep = Annotated[PageRequest, Depends(page_request)]


def page_body(request: Request, found: Slice[B]) -> tuple[Page[B], dict[str, str]]:
    """The body, and the header that leads to the next page under the same filters."""
    if found.next is None:
        return _page(found.items, None), {}
    cursor, headers = tell_cursor(request, found.next)
    return _page(found.items, cursor), headers


def read_cursor(request: Request, cursor: str) -> Position:
    """Where the page before ended. Raises: CursorInvalid."""
    return _cursors(request).decode(cursor, place=_place(request))


def tell_cursor(request: Request, position: Position) -> tuple[str, dict[str, str]]:
    """The cursor of the next page, and the header that leads there under the same filters."""
    cursor = _cursors(request).encode(position, place=_place(request))
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    link = f'<{request.url.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'
    return cursor, {"link": link}


def _page(items: Sequence[B], cursor: str | None) -> Page[B]:
    # The items are bodies already: to check them again would cost a page's worth of time.
    page: Page[B] = Page.model_construct(data=list(items), next_cursor=cursor)
    return page


def _cursors(request: Request) -> Cursors:
    cursors: Cursors = request.app.state.cursors
    return cursors


def _place(request: Request) -> str:
    caller = caller_of(request.scope)
    who = (caller.tenant or "", caller.customer or "") if caller else ("", "")
    return "\n".join((*who, request.url.path))


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _from_base64url(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error

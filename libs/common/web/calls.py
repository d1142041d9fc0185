"""What a route works with: who calls, and one transaction that reads, changes, or makes something once.

The transaction opens and commits inside of these methods, before the response is made: a commit that fails
can still be answered. A deadlock or a serialization failure repeats the whole, so `work` must have no effects
outside of its unit of work.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from libs.common.access.caller import OPERATORS, Caller
from libs.common.access.scopes import OPERATE, require
from libs.common.access.token import TokenMissing
from libs.common.errors import Forbidden, ServiceError, TransientError
from libs.common.paging import Slice
from libs.common.persistence.outage import is_lost_race
from libs.common.web import etag, idempotency
from libs.common.web.context import caller_of
from libs.common.web.idempotency import StoredResponse, TenantTransaction, fingerprint_of, read_key, run_once
from libs.common.web.pagination import page_body

ATTEMPTS_MAX = 5
PAUSE_S = 0.02
AWAIT_S = 3.0
STREAM_S = 600.0
STREAM_RETRY_S = 5
STREAMS_AT_ONCE = 2  # of one process, so that short requests find a connection
AWAIT_PAUSE_S = 0.05
JSON = "application/json"

_STREAMS = asyncio.Semaphore(STREAMS_AT_ONCE)

U = TypeVar("U", bound=TenantTransaction)
U_co = TypeVar("U_co", covariant=True)
B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")
Once = Literal["required", "optional"]
Awaited = tuple[type[ServiceError], ...]


class PortalForbidden(Forbidden):
    """The token is an end customer's, and this is not for end customers."""

    code: ClassVar[str] = "portal_forbidden"
    title: ClassVar[str] = "Not for portal tokens"


class TenantNeeded(Forbidden):
    """The token is an operator's and belongs to no tenant, and this is about a tenant's things."""

    code: ClassVar[str] = "tenant_needed"
    title: ClassVar[str] = "The token belongs to no tenant"


class StreamsBusy(TransientError):
    code: ClassVar[str] = "streams_busy"
    title: ClassVar[str] = "Too many long answers at once"


class OpenUow(Protocol[U_co]):
    """Opens a unit of work; it commits on a clean exit. In a `snapshot` nothing changes while it is read."""

    def __call__(
        self, tenant: str, actor: str, *, snapshot: bool = False
    ) -> AbstractAsyncContextManager[U_co]: ...


@dataclass(frozen=True, slots=True)
class Tagged(Generic[B]):
    """A body that does not show its version, with the version that its ETag is made of."""

    body: B
    version: int


class Call(Generic[U]):
    """One request of one caller, let in by `authorised`."""

    def __init__(
        self, request: Request, caller: Caller, open_uow: OpenUow[U], *, once: Once | None = None
    ) -> None:
        self.request = request
        self.caller = caller
        self._open_uow = open_uow
        self._once = once
        self._key = self._read_key()
        self._version_checked = False

    @property
    def tenant(self) -> str:
        return self.caller.tenant or OPERATORS

    @property
    def customer(self) -> str | None:
        """The end customer of a portal token: nothing of anybody else's may be shown."""
        return self.caller.customer

    def require_version(self, version: int | None) -> None:
        """Refuse unless the request names this version, or, on a POST, none. Call it on what was locked.

        Raises: VersionChanged.
        """
        self._version_checked = True
        etag.check_matches(self.request, version)

    async def run(
        self, work: Callable[[U], Awaitable[T]], *, awaiting: Awaited = (), snapshot: bool = False
    ) -> T:
        """`work` in a transaction of its own, committed when this returns.

        `awaiting` names the errors that may only mean that another service's news has not arrived yet: the
        work is tried again for three seconds before they are believed.
        """
        give_up_at = time.monotonic() + AWAIT_S
        attempt = 1
        while True:
            try:
                async with self._open_uow(
                    tenant=self.tenant, actor=self.caller.actor, snapshot=snapshot
                ) as uow:
                    return await work(uow)  # the commit comes before the return
            except awaiting:
                if time.monotonic() >= give_up_at:
                    raise
                await asyncio.sleep(AWAIT_PAUSE_S)
            except Exception as error:
                if attempt >= ATTEMPTS_MAX or isinstance(error, ServiceError) or not is_lost_race(error):
                    raise
                await asyncio.sleep(PAUSE_S * attempt)
                attempt += 1

    async def read(self, work: Callable[[U], Awaitable[BaseModel | Tagged[Any]]]) -> Response:
        """200 with the body and its ETag, or 304 when the reader has it already."""
        body, version = _parts(await self.run(work))
        headers = {"etag": etag.etag_of(version)} if version is not None else {}
        if version is not None and etag.is_unchanged(self.request, version):
            return Response(status_code=304, headers=headers)
        return Response(_json(body), headers=headers, media_type=JSON)

    async def page(self, work: Callable[[U], Awaitable[Slice[B]]]) -> Response:
        """200 with one page of bodies, and the Link to the next."""
        body, headers = page_body(self.request, await self.run(work))
        return Response(_json(body), headers=headers, media_type=JSON)

    async def stream(
        self, parts: Callable[[U], AsyncIterator[bytes]], *, media_type: str, filename: str
    ) -> Response:
        """200 with all that `parts` yields, sent while it is read, in one snapshot that lasts as long.

        What goes wrong before the first part is answered as ever; what goes wrong later breaks the answer off. Whoever
        does not take what is sent for a minute is cut off by the database.
        Raises: StreamsBusy, since each holds a connection of the pool.
        """
        if _STREAMS.locked():
            raise StreamsBusy("as many answers as may be are being streamed", retry_after_s=STREAM_RETRY_S)
        told = self._streamed(parts)
        first = await anext(told, b"")
        return _Streamed(first, told, media_type=media_type, filename=filename)

    async def _streamed(self, parts: Callable[[U], AsyncIterator[bytes]]) -> AsyncGenerator[bytes, None]:
        async with (
            _STREAMS,
            self._open_uow(tenant=self.tenant, actor=self.caller.actor, snapshot=True) as uow,
        ):
            async for part in parts(uow):
                yield part

    async def once(
        self,
        work: Callable[[U], Awaitable[B | Tagged[B]]],
        *,
        status: int = 201,
        location: Callable[[B], str] | None = None,
        awaiting: Awaited = (),
    ) -> Response:
        """Make something, once for each Idempotency-Key; without one, where it is optional, once a request.

        Raises: IdempotencyInProgress, IdempotencyKeyReused, and whatever `work` raises.
        """
        assert self._once is not None, "a route that calls once() says so: authorised(scope, once=...)"

        async def answer(uow: U) -> StoredResponse:
            body, version = _parts(await work(uow))
            return _stored(body, version, status, location(body) if location and body is not None else None)

        if self._key is None:
            return _response(await self.run(answer, awaiting=awaiting))
        key, route = self._key, f"{self.request.method} {_route_path(self.request)}"
        fingerprint = fingerprint_of(
            self.request.url.path,
            self.request.url.query,
            self.caller.customer or "",
            body=await self.request.body(),
        )
        return _response(
            await self.run(
                lambda uow: run_once(
                    uow, route=route, key=key, fingerprint=fingerprint, work=lambda: answer(uow)
                ),
                awaiting=awaiting,
            )
        )

    async def change(
        self,
        work: Callable[[U], Awaitable[BaseModel | Tagged[Any] | None]],
        *,
        status: int = 200,
        awaiting: Awaited = (),
    ) -> Response:
        """Change something: on PATCH, PUT and DELETE the version must be named, and `work` must check it.

        A body of None answers 204.
        Raises: VersionRequired, VersionChanged, and whatever `work` raises.
        """
        etag.check_named(self.request)

        async def checked(uow: U) -> BaseModel | Tagged[Any] | None:
            result = await work(uow)
            named = self.request.method in etag.NAMED_BY_VERSION
            assert self._version_checked or not named, "work must call require_version() on what it changes"
            return result

        body, version = _parts(await self.run(checked, awaiting=awaiting))
        return _response(_stored(body, version, status if body is not None else 204, None))

    def _read_key(self) -> str | None:
        given = self.request.headers.getlist("idempotency-key") if self._once is not None else []
        if len(given) > 1:
            raise idempotency.IdempotencyKeyInvalid("the header Idempotency-Key came more than once")
        if not given and self._once == "required":
            raise idempotency.IdempotencyKeyRequired(
                "this request needs an idempotency key",
                remedy="Send a new UUID in the header Idempotency-Key, and the same one when you repeat.",
            )
        return read_key(given[0]) if given else None


@dataclass(frozen=True, slots=True)
class Authorised:
    """The dependency behind `authorised`; the OpenAPI document and the tests read its fields."""

    scope: str
    portal: bool = False
    once: Once | None = None
    operators: bool = False

    async def __call__(self, request: Request) -> Call[Any]:
        """Raises: ScopeMissing, PortalForbidden, TenantNeeded; IdempotencyKeyRequired or …Invalid."""
        caller = caller_of(request.scope)
        if caller is None:
            raise TokenMissing("the request carries no token")
        if caller.customer is not None and not self.portal:
            raise PortalForbidden(
                "portal tokens may not do this", remedy="Ask the business that sold it to you."
            )
        asked = OPERATE if self.operators and caller.operator else self.scope
        require(caller, asked)
        if caller.tenant is None and asked != OPERATE:
            raise TenantNeeded(
                "this is about a tenant's things, and the token names no tenant",
                remedy="Use a token of the tenant.",
            )
        return Call(request, caller, request.app.state.open_uow, once=self.once)


def authorised(scope: str, *, portal: bool = False, once: Once | None = None, operators: bool = False) -> Any:
    """For `Annotated[Call[Uow], authorised("billing:read", portal=True)]`: who may use a route, and how.

    Portal tokens are refused unless `portal` lets them in; the route then shows them `call.customer`'s things
    only. `once` says whether an Idempotency-Key is "required" or "optional". With `operators`, they may use the
    route as well, for no tenant.
    """
    return Depends(Authorised(scope=scope, portal=portal, once=once, operators=operators))


class _Streamed(StreamingResponse):
    """Closes what it reads, whether or not all of it was sent."""

    def __init__(
        self, first: bytes, rest: AsyncGenerator[bytes, None], *, media_type: str, filename: str
    ) -> None:
        async def told() -> AsyncIterator[bytes]:
            yield first
            async for part in rest:
                yield part

        headers = {"content-disposition": f'attachment; filename="{filename}"'}
        super().__init__(told(), headers=headers, media_type=media_type)
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(STREAM_S):
                await super().__call__(scope, receive, send)
        finally:
            await self._rest.aclose()


def _parts(result: BaseModel | Tagged[Any] | None) -> tuple[Any, int | None]:
    """The body, and the version that it shows or is tagged with."""
    if isinstance(result, Tagged):
        return result.body, result.version
    version = getattr(result, "version", None)
    return result, version if isinstance(version, int) else None


def _json(body: BaseModel) -> bytes:
    return body.model_dump_json(by_alias=True).encode()


def _stored(body: BaseModel | None, version: int | None, status: int, location: str | None) -> StoredResponse:
    headers: dict[str, str] = {}
    if version is not None:
        headers["etag"] = etag.etag_of(version)
    if location is not None:
        headers["location"] = location
    return StoredResponse(status=status, headers=headers, body=_json(body) if body is not None else b"")


def _response(answer: StoredResponse) -> Response:
    headers: Mapping[str, str] = answer.headers
    media_type = JSON if answer.body else None
    return Response(answer.body, status_code=answer.status, headers=dict(headers), media_type=media_type)


def _route_path(request: Request) -> str:
    """The path with the names of its parameters, so that a key belongs to a route and not to one address."""
    route = request.scope.get("effective_route_context") or request.scope.get("route")
    return str(getattr(route, "path", request.url.path))

"""A small service over an in-memory unit of work: notes that are made, read, listed and changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

import asyncpg
import httpx
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from libs.common.access.keys import KeyFile
from libs.common.access.token import TokenVerifier, sign_token
from libs.common.clock import SystemClock
from libs.common.errors import Conflict, NotFound
from libs.common.ids import new_id
from libs.common.money import Money
from libs.common.paging import PageRequest, Position, Slice
from libs.common.web.app import create_app
from libs.common.web.bodies import (
    BusinessDate,
    Code,
    Instant,
    Metadata,
    MoneyBody,
    Name,
    Quantity,
    StrictBody,
    Zone,
    identifier,
)
from libs.common.web.calls import Authorised, Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.limits import Limits
from libs.common.web.pagination import Page, PageDep

TENANT = "0190f0a0-0000-7000-8000-000000000001"
OTHER_TENANT = "0190f0a0-0000-7000-8000-000000000002"
START = datetime(2025, 1, 1, tzinfo=UTC)
CURSOR_KEY = b"0123456789abcdef"


class NoteNotFound(NotFound):
    """There is no such note."""

    code = "note_not_found"
    title = "No such note"


class NoteRefused(Conflict):
    code = "note_refused"
    title = "The note was refused"


@dataclass(frozen=True, slots=True)
class Note:
    id: str
    tenant: str
    customer: str
    name: str
    version: int
    created_at: datetime


@dataclass
class NotesUow:
    """What was saved becomes visible on commit only."""

    store: Store
    tenant: str
    actor: str
    saved: dict[str, Note] = field(default_factory=dict)

    @property
    def connection(self) -> AsyncConnection:
        raise AssertionError("there is no database here")

    async def become(self, tenant: str, actor: str) -> None:
        self.tenant, self.actor = tenant, actor

    def get(self, id: str) -> Note:
        note = self.saved.get(id) or self.store.notes.get(id)
        if note is None or note.tenant != self.tenant:
            raise NoteNotFound("there is no such note", id=id)
        return note

    def list_page(self, page: PageRequest) -> Slice[Note]:
        after = (page.after.created_at, page.after.id) if page.after else (START - timedelta(days=1), "")
        found = sorted(
            (
                note
                for note in self.store.notes.values()
                if note.tenant == self.tenant
                and (note.created_at, note.id) > after
                and (page.created_from is None or note.created_at >= page.created_from)
                and (page.created_to is None or note.created_at < page.created_to)
            ),
            key=lambda note: (note.created_at, note.id),
        )
        shown = tuple(found[: page.limit])
        more = len(found) > page.limit
        return Slice(items=shown, next=Position(shown[-1].created_at, shown[-1].id) if more else None)


@dataclass
class Store:
    """`failures` are raised at the commits to come, in turn."""

    notes: dict[str, Note] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    actors: list[str] = field(default_factory=list)
    works: int = 0

    @asynccontextmanager
    async def open_uow(self, tenant: str, actor: str, *, snapshot: bool = False) -> AsyncIterator[NotesUow]:
        uow = NotesUow(self, tenant, actor)
        yield uow
        if self.failures:
            raise self.failures.pop(0)
        self.notes.update(uow.saved)
        self.actors.append(actor)

    def add(self, name: str, *, tenant: str = TENANT, customer: str = "cus_1") -> Note:
        at = START + timedelta(minutes=len(self.notes))
        note = Note(new_id("note", at), tenant, customer, name, 1, at)
        self.notes[note.id] = note
        return note


NoteId = Annotated[str, identifier("note")]
Reader = Annotated[Call[NotesUow], authorised("catalog:read", portal=True)]
Writer = Annotated[Call[NotesUow], authorised("catalog:write")]
Maker = Annotated[Call[NotesUow], authorised("catalog:write", once="optional")]
Operator = Annotated[Call[NotesUow], authorised("operate")]


class NoteBody(StrictBody):
    id: str
    name: str
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, note: Note) -> Self:
        return cls(id=note.id, name=note.name, version=note.version, created_at=note.created_at)


class NewNoteBody(StrictBody):
    name: Name
    price: MoneyBody | None = None
    quantity: Quantity | None = None
    at: Instant | None = None
    on: BusinessDate | None = None
    zone: Zone | None = None
    code: Code | None = None
    metadata: Metadata | None = None
    parts: list[MoneyBody] = []


class NoteChangesBody(StrictBody):
    name: Name


router = LateRouter(prefix="/v1/notes", tags=["notes"])


@router.get("", response_model=Page[NoteBody])
async def list_notes(page: PageDep, call: Reader) -> Response:
    """List notes."""

    async def work(uow: NotesUow) -> Slice[NoteBody]:
        return uow.list_page(page).map(NoteBody.from_domain)

    return await call.page(work)


@router.get("/{note_id}", response_model=NoteBody)
async def get_note(note_id: NoteId, call: Reader) -> Response:
    """Read a note."""

    async def work(uow: NotesUow) -> NoteBody:
        note = uow.get(note_id)
        if call.customer not in (None, note.customer):
            raise NoteNotFound("there is no such note", id=note_id)
        return NoteBody.from_domain(note)

    return await call.read(work)


@router.post("", status_code=201, response_model=NoteBody)
async def post_note(body: NewNoteBody, call: Maker) -> Response:
    """Make a note."""

    async def work(uow: NotesUow) -> NoteBody:
        uow.store.works += 1
        if body.name == "refused":
            raise NoteRefused("this note is refused", name=body.name)
        if body.name == "broken":
            raise RuntimeError("the password is hunter2")
        if body.price is not None:
            assert isinstance(body.price.to_money(), Money)
        note = Note(new_id("note", START), uow.tenant, "cus_1", body.name, 1, START)
        uow.saved[note.id] = note
        return NoteBody.from_domain(note)

    return await call.once(work, location=lambda note: f"/v1/notes/{note.id}", awaiting=(NoteNotFound,))


@router.post("/{note_id}/signature", response_model=NoteBody)
async def post_signature(
    note_id: NoteId, call: Annotated[Call[NotesUow], authorised("catalog:write", once="required")]
) -> Response:
    """Sign a note; a version is honoured when it is named."""

    async def work(uow: NotesUow) -> NoteBody:
        call.require_version(uow.get(note_id).version)
        return NoteBody.from_domain(uow.get(note_id))

    return await call.once(work, status=200)


@router.patch("/{note_id}", response_model=NoteBody)
async def patch_note(note_id: NoteId, body: NoteChangesBody, call: Writer) -> Response:
    """Change a note."""

    async def work(uow: NotesUow) -> NoteBody:
        note = uow.get(note_id)
        call.require_version(note.version)
        uow.saved[note_id] = replace(note, name=body.name, version=note.version + 1)
        return NoteBody.from_domain(uow.saved[note_id])

    return await call.change(work)


@router.put("/{note_id}/draft", response_model=NoteBody)
async def put_draft(note_id: NoteId, body: NoteChangesBody, call: Writer) -> Response:
    """Write the draft, of which there is none yet."""

    async def work(uow: NotesUow) -> NoteBody:
        call.require_version(None)
        return NoteBody.from_domain(uow.get(note_id))

    return await call.change(work)


@router.delete("/{note_id}", status_code=204)
async def delete_note(note_id: NoteId, call: Writer) -> Response:
    """Throw a note away."""

    async def work(uow: NotesUow) -> None:
        call.require_version(uow.get(note_id).version)

    return await call.change(work)


operations = LateRouter(prefix="/v1/notes-operations", tags=["operations"])


@operations.get("/audit")
async def get_audit(call: Operator) -> Response:
    """What operators see."""
    return JSONResponse({"tenant": call.tenant})


async def take_raw(request: Request) -> Response:
    call = await Authorised("usage:write")(request)
    return JSONResponse({"length": len(await request.body()), "tenant": call.tenant})


@dataclass
class SmallApp:
    app: FastAPI
    store: Store
    key_file: KeyFile

    def token(self, **changes: Any) -> str:
        told: dict[str, Any] = {
            "tenant": TENANT,
            "scopes": ["catalog:read", "catalog:write", "usage:write"],
            "now": SystemClock().system_now(),
            "lifetime_s": 600,
            **changes,
        }
        return sign_token(self.key_file.signing_key, **told)

    def client(self, token: str | None = "", **changes: Any) -> httpx.AsyncClient:
        """A client with a token: a good one, or the one given, or none at all."""
        bearer = self.token(**changes) if token == "" else token
        headers: Mapping[str, str] = {"authorization": f"Bearer {bearer}"} if bearer is not None else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://perennial.test", headers=headers
        )


def a_small_app(
    folder: Path,
    *,
    limits: Limits | None = None,
    readiness: Callable[[], Any] | None = None,
    routers: list[LateRouter] | None = None,
) -> SmallApp:
    async def ready() -> dict[str, bool]:
        return {"database": True}

    key_file = KeyFile.load_or_create(folder / "keys.json")
    store = Store()
    app = create_app(
        service="notes",
        title="Notes",
        routers=routers or [router, operations],
        verifier=TokenVerifier(key_file.path),
        readiness=readiness or ready,
        open_uow=store.open_uow,
        cursor_key=CURSOR_KEY,
        limits=limits or Limits(raw_body_prefixes=("/v1/raw",), body_bytes_max_by_prefix={"/v1/raw": 2000}),
        routes=[Route("/v1/raw", take_raw, methods=["POST"])],
    )
    return SmallApp(app, store, key_file)


def a_deadlock() -> Exception:
    return asyncpg.DeadlockDetectedError("deadlock detected")

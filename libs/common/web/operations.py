"""What operators ask of every service: its audit, dead letters and replays, and what a test clock waits for."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from fastapi import Path, Query
from pydantic import Field
from sqlalchemy import RowMapping, Table, select
from starlette.responses import Response, StreamingResponse

from libs.common.access.scopes import OPERATE
from libs.common.errors import NotFound
from libs.common.messaging.failures import FailedMessage, Failures
from libs.common.messaging.replay import Replays
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.audit import BUCKETS, LISTED_AT_ONCE, AuditCheck, AuditReport
from libs.common.persistence.clock_dues import ClockDues, read_clock_dues
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from libs.common.telemetry import metrics
from libs.common.web.audit_progress import PROGRESS_TYPE, audit_told
from libs.common.web.bodies import Instant, StrictBody
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from libs.common.web.replay_bodies import ReplayBody, ReplayRequestBody

Audit = Callable[[], Awaitable[AuditReport]]
List = Callable[[str, int, str], Awaitable[Sequence[str]]]  # which, bucket, after
DeadLetterStatus = Literal["dead", "retrying"]

MESSAGE_ID_LENGTH_MAX = 300

OperatorCall = Annotated[Call[UnitOfWork], authorised(OPERATE)]
ReplayCall = Annotated[Call[UnitOfWork], authorised(OPERATE, once="optional")]
ClockCall = Annotated[Call[UnitOfWork], authorised("clocks:read")]
MessageId = Annotated[
    str, Path(max_length=MESSAGE_ID_LENGTH_MAX, examples=["evt_01jz3v6m1qk0c8n4r2d5s7t9wx"])
]


class AuditCheckBody(StrictBody):
    """One thing that must hold. `problems` shows the first of `problem_count`."""

    name: str = Field(examples=["outbox_stale"])
    ok: bool
    checked_count: int = Field(examples=[12])
    problem_count: int = Field(examples=[0])
    problems: list[str] = Field(examples=[[]])

    @classmethod
    def from_check(cls, check: AuditCheck) -> Self:
        return cls(
            name=check.name,
            ok=check.ok,
            checked_count=check.checked_count,
            problem_count=check.problem_count,
            problems=list(check.problems),
        )


class AuditReportBody(StrictBody):
    """`facts` are counts that an audit of several services compares."""

    service: str = Field(examples=["catalog"])
    ok: bool
    checks: list[AuditCheckBody]
    facts: dict[str, Any] = Field(examples=[{"plan_count": 7}])

    @classmethod
    def from_report(cls, report: AuditReport) -> Self:
        return cls(
            service=report.service,
            ok=report.ok,
            checks=[AuditCheckBody.from_check(check) for check in report.checks],
            facts=dict(report.facts),
        )


class AuditedThingsBody(StrictBody):
    """What one bucket of a listing holds, in order, and where the next page begins."""

    data: Annotated[list[str], Field(examples=[["sub_01jx4w9c8f7g6h5j4k3m2n1p0q 2026-01-01T00:00:00Z"]])]
    next_after: Annotated[str | None, Field(examples=[None])]


class AuditListingNotFound(NotFound):
    code: ClassVar[str] = "audit_listing_not_found"
    title: ClassVar[str] = "There is no such listing"


class DeadLetterBody(StrictBody):
    """A message that failed by itself: `dead` waits for a person, `retrying` is tried again unasked."""

    message_id: str = Field(examples=["evt_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    status: DeadLetterStatus
    type: str | None = Field(examples=["perennial.catalog.plan.published.v1"])
    tenant: str | None = Field(examples=["0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47"])
    topic: str = Field(examples=["perennial.catalog.v1"])
    partition: int = Field(examples=[3])
    offset: int = Field(examples=[1200])
    key: str = Field(examples=["0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47/pln_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    attempts: int = Field(examples=[5])
    next_try_at: Instant | None = Field(examples=[None])
    error: str = Field(examples=["ValueError: cannot be read"])
    trace_id: str | None = Field(examples=["0af7651916cd43dd8448eb211c80319c"])
    first_failed_at: Instant
    last_failed_at: Instant

    @classmethod
    def from_failed(cls, failed: FailedMessage) -> Self:
        return cls(**_summary(failed))


class DeadLetterDetailBody(DeadLetterBody):
    """With what the message carries: `data` when it is JSON, otherwise `data_base64`."""

    headers: dict[str, str] = Field(examples=[{"ce_id": "evt_01jz3v6m1qk0c8n4r2d5s7t9wx"}])
    data: Any = None
    data_base64: str | None = None

    @classmethod
    def from_failed(cls, failed: FailedMessage) -> Self:
        try:
            carried: dict[str, Any] = {"data": json.loads(failed.value)}
        except (ValueError, RecursionError):
            carried = {"data_base64": base64.b64encode(failed.value).decode("ascii")}
        return cls(**_summary(failed), headers=dict(failed.headers), **carried)


class ClockDuesBody(StrictBody):
    """The service is at rest for the clock when nothing is `busy` or `unpublished`, twice at one position."""

    clock_now: Instant
    earliest_due_at: Instant | None
    busy: int
    unpublished: int
    last_position: int

    @classmethod
    def from_dues(cls, dues: ClockDues) -> Self:
        return cls(
            clock_now=dues.clock_now,
            earliest_due_at=dues.earliest_due_at,
            busy=dues.busy,
            unpublished=dues.unpublished,
            last_position=dues.last_position,
        )


def operations_router(
    service: str,
    *,
    failures: Failures,
    replays: Replays,
    due_tables: Sequence[Table] = (),
    audit: Audit,
    listings: Sequence[str] = (),
    list_things: List | None = None,
) -> LateRouter:
    """The routes under `/v1/<service>-operations`, the same in each service.

    `failures` and `replays` are those of the service's handler group, on the API's own units of work. `due_tables`
    are the tables with due rows, in which a test clock may have something waiting. `audit` looks at all tenants;
    `listings` are what it compares with other services, of which `list_things` gives one bucket.
    """
    router = LateRouter(prefix=f"/v1/{service}-operations", tags=["operations"])

    async def audited() -> AuditReportBody:
        report = await audit()
        metrics.audited(service, sum(check.problem_count for check in report.checks))
        return AuditReportBody.from_report(report)

    @router.get("/audit", response_model=AuditReportBody, summary="Audit this service")
    async def get_audit(call: OperatorCall) -> Response:
        """Look once more at what must hold, over all tenants, in one snapshot. It changes nothing.

        Who accepts `application/x-ndjson` is told how far it is, line by line; the last line is the report.
        """
        if PROGRESS_TYPE in call.request.headers.get("accept", ""):
            return StreamingResponse(audit_told(audited), media_type=PROGRESS_TYPE)
        return Response((await audited()).model_dump_json().encode(), media_type="application/json")

    @router.get("/audit/{listing}", response_model=AuditedThingsBody, summary="List what an audit compared")
    async def list_audited_things(
        listing: Annotated[str, Path(max_length=64, examples=["documents"])],
        call: OperatorCall,
        bucket: Annotated[int, Query(ge=0, lt=BUCKETS)],
        after: Annotated[str, Query(pattern="^[A-Za-z0-9_:. -]*$", max_length=200)] = "",
    ) -> AuditedThingsBody:
        """One of the buckets of which the report tells digests: where those of two services differ, it says in what."""
        if listing not in listings or list_things is None:
            raise AuditListingNotFound("no listing has this name", known=", ".join(listings))
        found = await list_things(listing, bucket, after)
        is_full = len(found) == LISTED_AT_ONCE
        return AuditedThingsBody(data=list(found), next_after=found[-1] if is_full else None)

    @router.get("/dead-letters", response_model=Page[DeadLetterBody], summary="List dead letters")
    async def list_dead_letters(
        call: OperatorCall,
        page: PageDep,
        status: Annotated[DeadLetterStatus | None, Query(description="Only those in this state.")] = None,
    ) -> Response:
        """Messages that failed by themselves, those that are still retried included; oldest first."""

        async def work(uow: UnitOfWork) -> Slice[DeadLetterBody]:
            return (await _list_failed(uow, status, page)).map(DeadLetterBody.from_failed)

        return await call.page(work)

    @router.post(
        "/dead-letters/{message_id:path}/redrive",
        status_code=202,
        response_model=DeadLetterBody,
        summary="Try a dead letter again",
    )
    async def post_redrive(message_id: MessageId, call: OperatorCall) -> Response:
        """Try the message again within a second, with all its tries. Always safe: effects happen once."""

        async def work(uow: UnitOfWork) -> DeadLetterBody:
            await failures.redrive(message_id)
            uow.record("dead_letter.redriven", message_id)
            return DeadLetterBody.from_failed(await failures.get(message_id))

        return await call.change(work, status=202)

    @router.get(
        "/dead-letters/{message_id:path}", response_model=DeadLetterDetailBody, summary="Show a dead letter"
    )
    async def get_dead_letter(message_id: MessageId, call: OperatorCall) -> DeadLetterDetailBody:
        """With its headers and data."""
        return DeadLetterDetailBody.from_failed(await failures.get(message_id))

    @router.post(
        "/replays", status_code=202, response_model=ReplayBody, summary="Hear again what was handled"
    )
    async def post_replay(body: ReplayRequestBody, call: ReplayCall) -> Response:
        """Take the service's consumers back, within a second. Harmless: the inbox knows what was handled.

        With neither `from_offset` nor `since`, everything that the bus still keeps comes again.
        """

        async def work(uow: UnitOfWork) -> ReplayBody:
            return ReplayBody.from_replay(await replays.ask(body.to_asked(), uow=uow))

        return await call.once(work, status=202, location=lambda made: f"{router.prefix}/replays/{made.id}")

    @router.get("/replays", response_model=Page[ReplayBody], summary="List replays")
    async def list_replays(call: OperatorCall, page: PageDep) -> Response:
        """Those that were asked for in the last 90 days, oldest first."""

        async def work(uow: UnitOfWork) -> Slice[ReplayBody]:
            return (await replays.list(page, uow=uow)).map(ReplayBody.from_replay)

        return await call.page(work)

    @router.get("/replays/{replay_id}", response_model=ReplayBody, summary="See how far a replay is")
    async def get_replay(
        replay_id: Annotated[str, Path(max_length=64, examples=["rpl_01jz3v6m1qk0c8n4r2d5s7t9wx"])],
        call: OperatorCall,
    ) -> Response:
        """It is done when the group stands again where it stood when the replay was asked for."""

        async def work(uow: UnitOfWork) -> ReplayBody:
            return ReplayBody.from_replay(await replays.get(replay_id, uow=uow))

        return await call.read(work)

    @router.get(
        "/clock-dues/{clock_id}", response_model=ClockDuesBody, summary="What a test clock waits for here"
    )
    async def get_clock_dues(
        clock_id: Annotated[str, Path(max_length=64, examples=["clk_01jz3v6m1qk0c8n4r2d5s7t9wx"])],
        call: ClockCall,
    ) -> Response:
        """Whoever moves a test clock asks each service before the next step.

        A clock of which the service has not heard is not found.
        """

        async def work(uow: UnitOfWork) -> ClockDuesBody:
            return ClockDuesBody.from_dues(await read_clock_dues(uow, clock_id, due_tables))

        return await call.read(work)

    return router


async def _list_failed(
    uow: UnitOfWork, status: DeadLetterStatus | None, page: PageRequest
) -> Slice[FailedMessage]:
    table = uow.machinery.message_failure
    wanted = select(table)
    if status is not None:
        wanted = wanted.where(table.c.dead if status == "dead" else ~table.c.dead)
    return await fetch_page(
        uow.connection,
        wanted,
        created_at=table.c.first_failed_at,
        id=table.c.message_id,
        page=page,
        to_view=_failed,
    )


def _failed(row: RowMapping) -> FailedMessage:
    return FailedMessage(**{name: row[name] for name in FailedMessage.__dataclass_fields__})


def _summary(failed: FailedMessage) -> Mapping[str, Any]:
    shown = {name: getattr(failed, name) for name in DeadLetterBody.model_fields if name != "status"}
    return {**shown, "status": "dead" if failed.dead else "retrying"}

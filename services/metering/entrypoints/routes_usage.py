"""The routes that say how much was used, which events that are, and how the balances of periods under way stand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import StringConstraints
from starlette.responses import Response

from libs.common.paging import PAGE_LENGTH, PAGE_LENGTH_MAX, PageRequest, Position
from libs.common.web.bodies import Code, Instant, Zone
from libs.common.web.csv_text import MEDIA_TYPE
from libs.common.web.late_routes import LateRouter
from libs.common.web.nearest_name import nearest_name
from libs.common.web.pagination import CURSOR_LENGTH_MAX, PageDep, tell_cursor
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.ask_usage import (
    ROWS_MAX,
    SLICES_DEFAULT,
    SlicePage,
    UsageAnswer,
    ask_usage,
)
from services.metering.application.list_usage_balances import (
    BalanceFilter,
    BalancesNow,
    list_usage_balances,
)
from services.metering.application.list_usage_behind import UsageBehind, list_usage_behind
from services.metering.application.usage_question import Fill, UsageQuestion
from services.metering.domain.usage_slices import (
    SLICES_MAX,
    SliceLength,
    TooManySlices,
    slice_count_max,
)
from services.metering.entrypoints.bodies import AnyId
from services.metering.entrypoints.dependencies import ClockDep, PortalReadCall
from services.metering.entrypoints.meter_bodies import Dimension
from services.metering.entrypoints.usage_answer_bodies import (
    MeasuredEventsBody,
    UsageBalancesBody,
    UsageBody,
    behind_json,
)
from services.metering.entrypoints.usage_csv import csv_response, wants_csv
from services.metering.entrypoints.usage_cursor import continued, following
from services.metering.entrypoints.usage_event_bodies import Subject

router = LateRouter(prefix="/v1", tags=["usage"])

FILTERS_MAX = 100
CSV_SLICES_MAX = 1_000_000
_CSV_EXAMPLE = (
    "from,to,group.carrier,quantity,event_count,as_of,is_complete\r\n"
    "2025-06-01T00:00:00Z,2025-06-02T00:00:00Z,AA,1204.5,17,2025-06-03T08:00:00.1Z,true\r\n"
)

Filter = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=r"^[^\x00-\x1f]*$")]
Cursor = Annotated[
    str | None, Query(max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of the page before.")
]


# A parameter that is misspelled must not be passed over: without `from`, another month is asked for.
QUESTION_PARAMETERS = (
    "meter", "subject", "item_id", "subscription_id", "customer_id", "asset_id", "from", "to", "zone", "filter", "window",
    "group_by", "fill", "limit", "cursor", "format",
)  # fmt: skip


def _refuse_unknown(request: Request) -> None:
    """Raises: RequestValidationError, which names each, and the one that may be meant."""
    unknown = sorted(set(request.query_params) - set(QUESTION_PARAMETERS))
    if unknown:
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("query", name), "msg": _told_unknown(name)} for name in unknown]
        )


def _told_unknown(name: str) -> str:
    meant = nearest_name(name, QUESTION_PARAMETERS)
    return f"is no parameter of this question{f': did you mean {meant}?' if meant else ''}"


async def _question(
    request: Request,
    meter: Annotated[Code, Query(description="The code of the meter.")],
    subject: Annotated[
        Subject | None, Query(description="Usage of this subject, bound or not; with an id, its part of it.")
    ] = None,
    item_id: Annotated[AnyId | None, Query(description="Usage bound to this subscription item.")] = None,
    subscription_id: Annotated[AnyId | None, Query()] = None,
    customer_id: Annotated[AnyId | None, Query()] = None,
    asset_id: Annotated[
        AnyId | None, Query(description="Usage of subjects while they were bound with this asset.")
    ] = None,
    from_: Annotated[Instant | None, Query(alias="from", description="Default: this month's start.")] = None,
    to: Annotated[Instant | None, Query(description="Not included. Default: this month's end.")] = None,
    zone: Annotated[Zone, Query(description="In whose days, weeks and months.")] = "UTC",
    filter: Annotated[
        list[Filter] | None,
        Query(
            max_length=FILTERS_MAX,
            description="Only these groups, as `dimension:value`; several of one dimension mean any of them. "
            '`dimension:` is usage without one; what begins with a quote is a JSON string, so `dimension:""` '
            "is the empty text.",
            examples=[["carrier:AA", "carrier:UA"]],
        ),
    ] = None,
) -> UsageQuestion:
    _refuse_unknown(request)
    return UsageQuestion(
        meter=meter,
        subject=subject,
        item_id=item_id,
        subscription_id=subscription_id,
        customer_id=customer_id,
        asset_id=asset_id,
        start=from_,
        end=to,
        zone=zone,
        filters=tuple(filter or ()),
    )


QuestionDep = Annotated[UsageQuestion, Depends(_question)]


@router.get(
    "/usage",
    response_model=UsageBody,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _CSV_EXAMPLE}}}},
    summary="Ask how much was used",
)
async def get_usage(
    call: PortalReadCall,
    clock: ClockDep,
    asked: QuestionDep,
    window: Annotated[SliceLength, Query(description="Cut the time by minutes, hours, days …")] = "none",
    group_by: Annotated[list[Dimension] | None, Query(max_length=5)] = None,
    fill: Annotated[
        Fill | None,
        Query(
            description="Show windows without usage as zero, or leave them out. "
            "Default: zero, but none where usage is grouped; zero then shows every group in every window."
        ),
    ] = None,
    limit: Annotated[
        int,
        Query(ge=1, le=SLICES_MAX, description=f"Windows at most; a page has no more than {ROWS_MAX} rows."),
    ] = SLICES_DEFAULT,
    cursor: Cursor = None,
    format: Annotated[
        Literal["json", "csv"] | None,
        Query(description="`csv`, or the header Accept: text/csv, exports all pages at once."),
    ] = None,
) -> Response:
    """Name a subject, an asset, a subscription item, a subscription or a customer.

    Everything stored by `as_of` is in. A long answer comes in pages of whole windows.
    """
    question, after = continued(
        call.request,
        cursor,
        replace(asked, of=call.customer, length=window, group_by=tuple(group_by or ()), fill=fill),
    )

    async def read(question: UsageQuestion, after: datetime | None) -> UsageAnswer:
        page = SlicePage(limit, after)

        async def work(uow: MeteringUnitOfWork) -> UsageAnswer:
            return await ask_usage(question, page, uow=uow, clock=clock)

        return await call.run(work, snapshot=True)

    answer = await read(question, None if after is None else after.created_at)
    if format == "csv" or (format is None and wants_csv(call.request)):
        whole = replace(question, start=answer.start, end=answer.end)
        if slice_count_max(answer.start, answer.end, window) > CSV_SLICES_MAX:
            raise TooManySlices(
                f"an export has at most {CSV_SLICES_MAX} windows",
                remedy="Ask for less time, or for longer windows.",
            )
        return csv_response(answer, lambda after: read(whole, after))
    end = None if answer.next is None else Position(answer.next, "")
    next_cursor, headers = following(call.request, question, answer.start, answer.end, end)
    body = UsageBody.from_answer(answer, next_cursor)
    return Response(
        body.model_dump_json(by_alias=True),
        headers={**headers, "vary": "accept"},
        media_type="application/json",
    )


@router.get("/usage/events", response_model=MeasuredEventsBody, summary="List the events behind a figure")
async def list_usage_behind_a_figure(
    call: PortalReadCall,
    clock: ClockDep,
    asked: QuestionDep,
    limit: Annotated[int, Query(ge=1, le=PAGE_LENGTH_MAX, description="How many at most.")] = PAGE_LENGTH,
    cursor: Cursor = None,
) -> Response:
    """The very events that `GET /v1/usage` counts, asked the same, in the order in which they happened.

    Of a level, as time-weighted meters have it, the steps, whose contributions add up to the quantity.
    """
    question, after = continued(call.request, cursor, replace(asked, of=call.customer))

    async def work(uow: MeteringUnitOfWork) -> UsageBehind:
        page = PageRequest(limit=limit, after=after)
        return await list_usage_behind(question, page, uow=uow, clock=clock)

    found = await call.run(work, snapshot=True)
    next_cursor, headers = following(call.request, question, found.start, found.end, found.next)
    return Response(behind_json(found, next_cursor), headers=headers, media_type="application/json")


@router.get("/usage-balances", response_model=UsageBalancesBody, summary="List balances of usage")
async def get_usage_balances(
    call: PortalReadCall,
    page: PageDep,
    clock: ClockDep,
    item_id: Annotated[AnyId | None, Query()] = None,
    subscription_id: Annotated[AnyId | None, Query()] = None,
    customer_id: Annotated[AnyId | None, Query()] = None,
) -> Response:
    """How much of each item was used in the period under way, now, and what was said of it last.

    `limit` counts periods, each of which is shown with all its items.
    """
    wanted = BalanceFilter(item_id, subscription_id, customer_id)

    async def work(uow: MeteringUnitOfWork) -> BalancesNow:
        return await list_usage_balances(wanted, page, of=call.customer, uow=uow, clock=clock)

    found = await call.run(work, snapshot=True)
    after = found.balances.next
    next_cursor, headers = (None, {}) if after is None else tell_cursor(call.request, after)
    body = UsageBalancesBody.from_view(found, next_cursor)
    return Response(body.model_dump_json(), headers=headers, media_type="application/json")

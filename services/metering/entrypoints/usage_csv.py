"""Usage as comma-separated values (RFC 4180), page by page, safe to be opened by spreadsheets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import StreamingResponse

from libs.common.web.bodies import decimal_text, instant_text
from libs.common.web.csv_text import MEDIA_TYPE, csv_line, csv_text
from services.metering.application.ask_usage import UsageAnswer


def wants_csv(request: Request) -> bool:
    """Whether the header Accept names CSV, and nothing that the caller would rather have."""
    wanted = json_wanted = 0.0
    for given in request.headers.get("accept", "").split(","):
        name, *parameters = (part.strip().lower() for part in given.split(";"))
        weight = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
        if name == MEDIA_TYPE:
            wanted = weight
        elif name == "application/json":
            json_wanted = weight
    return wanted > 0 and wanted >= json_wanted


def csv_response(
    first: UsageAnswer, read_next: Callable[[datetime], Awaitable[UsageAnswer]]
) -> StreamingResponse:
    """The first page, and all that follow, each read when those before it have been sent."""

    async def told() -> AsyncIterator[bytes]:
        yield csv_line(_header(first.dimensions)).encode()
        answer = first
        while True:
            yield _lines(answer).encode()
            if answer.next is None:
                return
            answer = await read_next(answer.next)

    name = quote(f"usage-{first.meter.code}.csv")
    headers = {"content-disposition": f'attachment; filename="{name}"', "vary": "accept"}
    return StreamingResponse(told(), media_type=f"{MEDIA_TYPE}; header=present", headers=headers)


def _header(dimensions: Sequence[str]) -> list[str]:
    groups = (csv_text(f"group.{name}") for name in dimensions)
    return ["from", "to", *groups, "quantity", "event_count", "as_of", "is_complete"]


def _lines(answer: UsageAnswer) -> str:
    as_of = instant_text(answer.position.as_of)
    is_complete = "true" if answer.filled_until is None else "false"
    return "".join(
        csv_line(
            [
                instant_text(found.start),
                instant_text(found.end),
                *(csv_text(found.group[name]) for name in answer.dimensions),
                decimal_text(found.usage.quantity),
                str(found.usage.event_count),
                as_of,
                is_complete,
            ]
        )
        for found in answer.slices
    )


def _weight(told: str) -> float:
    try:
        return float(told)
    except ValueError:
        return 1.0

"""Usage as CSV: what comes out of a reader of CSV is what went in, and nothing of it is a formula."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from services.metering.application.ask_usage import UsageAnswer, UsageSlice
from services.metering.application.reads import AnswerPosition
from services.metering.domain.aggregation import Usage
from services.metering.entrypoints.usage_csv import csv_response, wants_csv
from tests.unit.metering.meters import a_meter

AT = datetime(2025, 6, 1, tzinfo=UTC)
HEADER = ["from", "to", "group.kind", "quantity", "event_count", "as_of", "is_complete"]
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def an_answer(*rows: tuple[str | None, Decimal], next: datetime | None = None) -> UsageAnswer:
    slices = [UsageSlice(AT, AT + timedelta(days=1), {"kind": kind}, Usage(q, 1)) for kind, q in rows]
    return UsageAnswer(
        a_meter(), ("kind",), AT, AT + timedelta(days=2), slices, AnswerPosition(AT, "1:1:", {}), None, next
    )


def exported(*pages: UsageAnswer) -> str:
    following = iter(pages[1:])

    async def read_next(after: datetime) -> UsageAnswer:
        return next(following)

    async def collect() -> bytes:
        response = csv_response(pages[0], read_next)
        return b"".join([chunk async for chunk in response.body_iterator])  # type: ignore[misc]

    return asyncio.run(collect()).decode()


def test_pages_follow_under_one_header() -> None:
    first = an_answer(("a", Decimal("0.10")), next=AT + timedelta(days=1))
    told = exported(first, an_answer((None, Decimal("-12345678901234567890.000000000000000001"))))
    assert told == (
        "from,to,group.kind,quantity,event_count,as_of,is_complete\r\n"
        "2025-06-01T00:00:00Z,2025-06-02T00:00:00Z,a,0.1,1,2025-06-01T00:00:00Z,true\r\n"
        "2025-06-01T00:00:00Z,2025-06-02T00:00:00Z,,-12345678901234567890.000000000000000001,1,"
        "2025-06-01T00:00:00Z,true\r\n"
    )


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("plain", "plain"),
        (None, ""),
        ("", '""'),
        ('say "hi", you', '"say ""hi"", you"'),
        ("two\r\nlines", '"two\r\nlines"'),
        ("=1+1", "'=1+1"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1", "'+1"),
        ("\t=1", "'\t=1"),
        ("'quoted", "''quoted"),
        (" led by a space", '" led by a space"'),
        ("＝1+1", "'＝1+1"),
    ],
)
def test_how_a_senders_text_is_written(kind: str | None, written: str) -> None:
    told = exported(an_answer((kind, Decimal(1))))
    assert told.split("\r\n", 1)[1].split(",", 2)[2].startswith(f"{written},1,1,")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=5))
def test_whatever_is_exported_is_read_again(kinds: list[str]) -> None:
    told = exported(an_answer(*((kind, Decimal(3)) for kind in kinds)))
    header, *rows = csv.reader(io.StringIO(told, newline=""), strict=True)
    assert header == HEADER
    found = [row[2] for row in rows]
    assert [text.removeprefix("'") for text in found] == kinds
    assert not any(text.startswith(FORMULAS) for text in found)
    assert [row[3] for row in rows] == ["3"] * len(kinds)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("*/*", False),
        ("text/csv", True),
        ("text/csv;header=present", True),
        ("application/json, text/csv", True),
        ("application/json, text/csv;q=0.5", False),
        ("text/csv;q=0", False),
        ("text/csv;q=x", True),
        ("text/csv;q=nan", False),
        ("text/*, text/csvx", False),
        (";;,,=", False),
    ],
)
def test_when_csv_is_wanted(accept: str | None, wanted: bool) -> None:
    headers = [] if accept is None else [(b"accept", accept.encode())]
    assert wants_csv(Request({"type": "http", "headers": headers})) is wanted

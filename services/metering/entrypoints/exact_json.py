"""Answers whose JSON holds events as they were stored: numbers keep all their digits, which floats would not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import instant_text
from libs.common.web.pagination import page_body
from services.metering.application.reads import StoredEvent


class _Placeholder(BaseModel):
    """Stands for an item while the page's cursor and link are made."""


def event_json(event: StoredEvent) -> Mapping[str, Any]:
    return {
        "id": event.event_id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": _instant(event.occurred_at),
        "arrived_at": _instant(event.arrived_at),
        "data": msgspec.Raw((event.data_json or "null").encode()),
    }


def marked_json(event: StoredEvent) -> Mapping[str, Any]:
    """With why it counts no more, if it does not, and which amendment brought it, if one did."""
    mark = event.corrected
    told = mark and {
        "id": mark.id,
        "kind": mark.kind,
        "reason": mark.reason,
        "author": mark.author,
        "at": _instant(mark.corrected_at),
    }
    return {**event_json(event), "corrected": told, "amends": event.amends}


def exact_page(request: Request, found: Slice[Mapping[str, Any]]) -> Response:
    """The same page as all lists have, with items that are JSON already."""
    page, headers = page_body(request, found.map(lambda _: _Placeholder()))
    body = {"data": list(found.items), "next_cursor": page.next_cursor}
    return Response(msgspec.json.encode(body), headers=headers, media_type="application/json")


def _instant(value: datetime) -> str:
    return instant_text(value)

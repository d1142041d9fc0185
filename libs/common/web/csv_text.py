"""Comma-separated values (RFC 4180) that spreadsheets open safely: what a sender wrote is never taken for a formula."""

from __future__ import annotations

from collections.abc import Iterable

MEDIA_TYPE = "text/csv"
_END = "\r\n"
# A spreadsheet takes what begins with one of these for a formula. The apostrophe itself is among them, so that whoever
# takes one off what begins with one has the text as it was.
_GUARDED = tuple("=+-@\t\r\n'＝＋－＠")
_QUOTED = frozenset(',"\r\n')


def csv_line(fields: Iterable[str]) -> str:
    """One record of fields that need no thought, or that `csv_text` has written."""
    return ",".join(fields) + _END


def csv_text(value: str | None) -> str:
    """A sender's text: nothing for null, quotes for an empty text, an apostrophe before what would be a formula."""
    if value is None:
        return ""
    told = f"'{value}" if value.startswith(_GUARDED) else value
    if told and not _QUOTED.intersection(told) and told == told.strip():
        return told
    return '"' + told.replace('"', '""') + '"'

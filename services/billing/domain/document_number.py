"""The numbers of documents: a head, which may name the year, and an ordinal that leaves out none.

Whatever has the same head has the same count: changing a prefix, or counting by year from now on, begins a count
of its own at one, and coming back goes on where it was. Hence no two documents of a seller have one number.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

NumberReset = Literal["never", "year"]


def number_head(prefix: str, reset: NumberReset, issued_on: date) -> str:
    """What stands before the ordinal. The year is that of the date on the document: local, in the document's zone."""
    return prefix if reset == "never" else f"{prefix}{issued_on.year:04d}-"


def document_number(head: str, ordinal: int) -> str:
    """Six digits at least, so that numbers sort as text for the first million."""
    return f"{head}{ordinal:06d}"

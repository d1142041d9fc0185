"""Cursors: opaque, signed, exact to the microsecond."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.paging import Position
from libs.common.web.pagination import CursorInvalid, Cursors

CURSORS = Cursors(b"0123456789abcdef")
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(at=instants, id=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=60))
def test_a_cursor_comes_back_as_its_position(at: datetime, id: str) -> None:
    position = Position(at, id)
    assert CURSORS.decode(CURSORS.encode(position, place="/v1/x"), place="/v1/x") == position


@given(st.text(max_size=80))
def test_nothing_invented_passes(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        CURSORS.decode(cursor, place="/v1/x")


def test_another_key_or_place_does_not_pass() -> None:
    cursor = CURSORS.encode(Position(datetime(2025, 1, 1, tzinfo=UTC), "a"), place="/v1/x")
    with pytest.raises(CursorInvalid):
        CURSORS.decode(cursor, place="/v1/y")
    with pytest.raises(CursorInvalid):
        Cursors(b"another key of 16").decode(cursor, place="/v1/x")

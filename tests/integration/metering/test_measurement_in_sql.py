"""What a meter takes from an event is the same in Python, where events come in, and in SQL, where they are recounted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.persistence.session import asyncpg_dsn
from services.metering.adapters.row_mapping import meter_row
from services.metering.domain.json_pointer import find
from services.metering.domain.measurement import counts_for, measure
from services.metering.domain.usage_event import UsageEvent
from services.metering.entrypoints.cloud_events import Reader
from tests.support.service_under_test import ServiceUnderTest
from tests.unit.metering.meters import a_meter

READER = Reader("tenant", datetime(2025, 1, 1, tzinfo=UTC), specversion_needed=False)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30),
    st.sampled_from(
        ["1", "1.50", "-2", "1e5", "", " 1", "1\n", "+1", "١", "a" * 257, "é" * 128, "é" * 129, '"', "\\"]
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=10),
)
names = st.sampled_from(["a", "b", "0", "1", "", "x/y", "~"])
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
pointers = st.sampled_from(["", "/a", "/b", "/0", "/a/0", "/a/1", "/a/b", "/", "/x~1y", "/~0", "/a/b/0"])


@pytest_asyncio.fixture(scope="module")
async def admin(metering_service: ServiceUnderTest) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(asyncpg_dsn(metering_service.database.admin_dsn))
    try:
        yield connection
    finally:
        await connection.close()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=documents,
    value=pointers,
    group_by=st.lists(pointers.filter(bool), max_size=3, unique=True),
    filter=st.dictionaries(
        pointers, st.lists(st.sampled_from(["1", "true", "", "a"]), min_size=1, max_size=2), max_size=2
    ),
)
async def test_python_and_sql_measure_alike(
    admin: asyncpg.Connection[Any],
    data: Any,
    value: str,
    group_by: list[str],
    filter: dict[str, list[str]],
) -> None:
    raw = json.dumps({"id": "a", "source": "s", "type": "t", "subject": "u", "data": data})
    event = READER.read(raw.encode())
    if not isinstance(event, UsageEvent):
        return
    meter = a_meter(value=value, group_by=group_by, filter=filter)
    row = meter_row(meter)
    told = await admin.fetchrow(
        """SELECT usage_matches($1::jsonb, $2::jsonb) AS matches, usage_value($1::jsonb, $3) AS value,
                  usage_group($1::jsonb, $4::jsonb) AS group""",
        event.data_json.decode() if event.data_json else None,
        json.dumps(row["filters"]),
        row["value_path"],
        json.dumps(row["dimensions"]),
    )
    assert told is not None
    assert told["matches"] == counts_for(meter, event.data)
    measured = measure(meter, event.data)
    if not told["matches"] or told["value"] is None:
        assert measured is None
        return
    assert measured is not None
    assert (Decimal(measured.value or 0), measured.group) == (told["value"], told["group"])
    assert find(event.data, meter.value_path or ()) is not None

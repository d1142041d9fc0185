"""What a meter takes from an event is the same in Python, where events come in, and in SQL, where they are recounted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.common.persistence.session import asyncpg_dsn
from services.metering.adapters.row_mapping import meter_row
from services.metering.domain.json_pointer import parse_pointer
from services.metering.domain.measurement import measure
from services.metering.domain.meter import Aggregation, MeterOptions
from services.metering.domain.usage_event import UsageEvent
from services.metering.entrypoints.cloud_events import Reader
from tests.support.service_under_test import ServiceUnderTest
from tests.unit.metering.meters import a_meter

NO_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)
TENANT = "00000000-0000-4000-8000-000000000001"
JSON_COLUMNS = {"dimensions", "filters", "exclusions", "options"}
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
operations = st.sampled_from(["add", "remove"])
names = st.sampled_from(["a", "b", "0", "1", "", "x/y", "~"])
documents = st.recursive(
    scalars | operations,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
pointers = st.sampled_from(["", "/a", "/b", "/0", "/a/0", "/a/1", "/a/b", "/", "/x~1y", "/~0", "/a/b/0"])


@pytest_asyncio.fixture(scope="module")
async def admin(metering_service: ServiceUnderTest) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(asyncpg_dsn(metering_service.database.admin_dsn))
    try:
        await connection.execute("SELECT ensure_usage_month('2025-01-01')")
        yield connection
    finally:
        await connection.close()


wanted_values = st.lists(st.sampled_from(["1", "true", "", "a", "add", None]), min_size=1, max_size=3)
filters = st.dictionaries(pointers, wanted_values, max_size=2)
AGGREGATIONS: list[Aggregation] = ["count", "sum", "unique"]


@settings(
    max_examples=120,
    deadline=None,
    phases=NO_SHRINK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    data=documents,
    aggregation=st.sampled_from(AGGREGATIONS),
    value=pointers,
    operation=st.none() | pointers.filter(bool),
    group_by=st.lists(pointers.filter(bool), max_size=3, unique=True),
    filter=filters,
    exclude=st.lists(filters, max_size=2),
)
async def test_python_and_the_view_measure_alike(
    admin: asyncpg.Connection[Any],
    data: Any,
    aggregation: Aggregation,
    value: str,
    operation: str | None,
    group_by: list[str],
    filter: dict[str, list[str | None]],
    exclude: list[dict[str, list[str | None]]],
) -> None:
    raw = json.dumps({"id": "a", "source": "s", "type": "t", "subject": "u", "data": data})
    event = READER.read(raw.encode())
    if not isinstance(event, UsageEvent):
        return
    path = None if operation is None or aggregation != "unique" else parse_pointer(operation)
    meter = a_meter(
        aggregation=aggregation,
        value=value,
        group_by=group_by,
        filter=filter,
        exclude=exclude,
        event_type="t",
        options=MeterOptions(operation=path),
    )
    transaction = admin.transaction()
    await transaction.start()
    try:
        await store(admin, "meter", {"tenant": TENANT, **meter_row(meter)})
        await store(
            admin,
            "usage_event",
            {
                "tenant": TENANT,
                "occurred_at": event.occurred_at,
                "key": UUID(bytes=event.key),
                "arrived_at": event.occurred_at,
                "batch_id": UUID(int=0),
                "type": "t",
                "source": "s",
                "event_id": "a",
                "subject": "u",
                "data": event.data_json.decode() if event.data_json else None,
            },
        )
        told = await admin.fetch(
            "SELECT value, member, is_in, group_key FROM usage_measured WHERE tenant = $1", TENANT
        )
    finally:
        await transaction.rollback()
    measured = measure(meter, event.data)
    if measured is None:
        assert told == []
        return
    assert len(told) == 1
    number = None if measured.value is None else Decimal(measured.value)
    assert (number, measured.member, measured.is_in, measured.group) == tuple(told[0])


async def store(admin: asyncpg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    """Straight into the table, which is empty again in the end."""
    written = {
        name: json.dumps(value) if isinstance(value, dict) or name in JSON_COLUMNS else value
        for name, value in row.items()
    }
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    await admin.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *written.values())

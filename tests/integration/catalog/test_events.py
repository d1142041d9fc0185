"""What the catalog says, and what it does with what it hears: its own words included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from libs.common.access.tenancy import APP
from libs.common.contracts import topic_of
from libs.common.contracts.envelope import Envelope
from libs.common.contracts.metering import MeterDefinedV1
from libs.common.ids import new_id
from libs.common.messaging.bus import Delivery
from libs.common.messaging.consumer import Consumer
from services.catalog.adapters import rows
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.entrypoints.event_handlers import HANDLERS
from tests.support.catalog import NOW
from tests.support.service_under_test import ServiceUnderTest, UnusedBus


def consumer_of(catalog: ServiceUnderTest) -> Consumer[CatalogUnitOfWork]:
    return Consumer(
        service="catalog",
        group=HANDLERS,
        bus=UnusedBus(),
        units=catalog.parts.worker_units,
        member="test",
    )


async def sent_by(catalog: ServiceUnderTest, tenant: str) -> list[Delivery]:
    """The tenant's outbox, as the relay would publish it."""
    outbox = rows.shared.outbox
    async with catalog.parts.worker_database.transaction(APP) as connection:
        wanted = select(outbox).where(outbox.c.tenant == tenant).order_by(outbox.c.position)
        found = (await connection.execute(wanted)).mappings().all()
    return [
        delivery_of(
            Envelope(
                source="/perennial/catalog",
                **{name: row[name] for name in Envelope.__dataclass_fields__ if name != "source"},
            ),
            offset=offset,
        )
        for offset, row in enumerate(found)
    ]


def delivery_of(envelope: Envelope, *, offset: int = 0) -> Delivery:
    return Delivery(
        topic=topic_of("catalog"),
        partition=0,
        offset=offset,
        key=envelope.key,
        headers=envelope.headers(hop_traceparent=None),
        value=envelope.data,
    )


async def known_tenant(catalog: ServiceUnderTest, tenant: str) -> Sequence[Any]:
    async with catalog.parts.worker_database.transaction(APP, tenant) as connection:
        found: Sequence[Any] = (await connection.execute(select(rows.shared.known_tenant))).all()
    return found


async def test_a_tenant_is_known_everywhere_by_its_newest_word(catalog: ServiceUnderTest) -> None:
    async with catalog.client(None, "operate") as operator:
        made = (await operator.post("/v1/tenants", json={"name": "Cloudhop", "mode": "sandbox"})).json()
        await operator.patch(f"/v1/tenants/{made['id']}", json={"name": "Other"}, headers={"if-match": '"1"'})
    first, second = await sent_by(catalog, made["id"])

    await consumer_of(catalog).apply([second, first, second])

    (known,) = await known_tenant(catalog, made["id"])
    assert (known.name, known.mode, known.version) == ("Other", "sandbox", 2)


async def test_a_meter_heard_of_twice_is_kept_once(catalog: ServiceUnderTest, tenant: str) -> None:
    event = MeterDefinedV1(tenant=tenant, occurred_at=NOW, meter_id="mtr_1", code="km", aggregation="max")
    envelope = Envelope(
        id=new_id("evt"),
        type=event.TYPE,
        source="/perennial/metering",
        tenant=tenant,
        aggregate_id="mtr_1",
        aggregate_version=1,
        occurred_at=NOW,
        test_clock=None,
        traceparent=None,
        data=event.model_dump_json().encode(),
    )
    delivery = delivery_of(envelope)
    await consumer_of(catalog).apply([delivery, delivery])
    await consumer_of(catalog).apply([delivery])
    async with catalog.parts.worker_units.open(tenant, "test") as uow:
        assert await uow.known_meters.find_known(["km", "other"]) == {"km"}

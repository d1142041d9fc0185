"""Metering with everything around it under the test's control: what it hears, when it looks, what it said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from libs.common.clock import SystemClock
from libs.common.contracts import topic_of
from libs.common.contracts.catalog import LateUsageV1, PriceV1
from libs.common.contracts.envelope import Envelope, Event
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    CustomerV1,
    PeriodTermsV1,
    SubjectBindingV1,
    SubjectBoundV1,
    SubjectReleasedV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionItemV1,
    SubscriptionRenewedV1,
    SubscriptionStartedV1,
    SubscriptionV1,
    TermSegmentV1,
    TestClockMovedV1,
)
from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.ids import new_id
from libs.common.messaging.bus import Bus, Delivery
from libs.common.messaging.consumer import Consumer
from libs.common.persistence.session import asyncpg_dsn
from libs.common.stopping import Stopping
from services.metering.adapters.audit import audit_metering
from services.metering.entrypoints.event_handlers import handlers
from services.metering.entrypoints.scheduler import jobs
from services.metering.entrypoints.sealing import Sealing
from tests.support.service_under_test import ServiceUnderTest, UnusedBus

READ, WRITE = "usage:read", "usage:write"
GRACE = timedelta(hours=1)
SOURCE = "https://test.example/engines"
FLIGHT = "flight.landed"

_offsets = count()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class BusAsKnown(UnusedBus):
    """Says of the bindings' topic what the test says, and of the usage topic what the real one does, if there is one."""

    def __init__(self, real: Bus | None = None) -> None:
        self.ends: dict[int, int] = {0: 0}
        self.handled: dict[int, int] = {0: 0}
        self._real = real

    async def end_offsets(self, topic: str) -> dict[int, int]:
        if topic == USAGE_TOPIC:
            return {} if self._real is None else await self._real.end_offsets(topic)
        return dict(self.ends)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return dict(self.handled)


class Metering:
    """One tenant's view of a running metering service."""

    def __init__(self, service: ServiceUnderTest, tenant: str, bus: Bus | None = None) -> None:
        self.service, self.tenant = service, tenant
        self.bus = BusAsKnown(bus)
        self.units = service.parts.worker_units
        sealing = Sealing(self.units, SystemClock(), service="metering", stopping=Stopping())
        self.jobs = (*jobs(self.units, SystemClock(), self.bus), sealing)
        self.consumer = Consumer(
            service="metering", group=handlers(grace=GRACE), bus=self.bus, units=self.units, member="test"
        )
        self.client = service.client(tenant, READ, WRITE)

    async def hear(self, *events: Event) -> None:
        """As the consumer would: in one transaction, each message once."""
        await self.consumer.apply([self.delivery(event) for event in events])

    def delivery(self, event: Event, message_id: str | None = None) -> Delivery:
        envelope = Envelope(
            id=message_id or new_id("evt"),
            type=event.TYPE,
            source="/perennial/subscriptions",
            tenant=event.tenant,
            aggregate_id="x",
            aggregate_version=event.version,
            occurred_at=event.occurred_at,
            test_clock=event.test_clock,
            traceparent=None,
            data=event.model_dump_json().encode(),
        )
        headers = envelope.headers(hop_traceparent=None)
        return Delivery(topic_of("subscriptions"), 0, next(_offsets), envelope.key, headers, envelope.data)

    async def tick(self, turns_max: int = 20) -> None:
        """Let the scheduler work until there is nothing to do."""
        for _ in range(turns_max):
            if not sum([await job.run_once() for job in self.jobs]):
                return

    async def send(self, *events: Mapping[str, Any], status: int = 200) -> dict[str, Any]:
        answer = await self.client.post("/v1/usage-events", json=list(events), timeout=60)
        assert answer.status_code == status, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def get(self, path: str, status: int = 200, **parameters: Any) -> dict[str, Any]:
        answer = await self.client.get(path, params=parameters)
        assert answer.status_code == status, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def define(self, code: str = "minutes", **fields: Any) -> dict[str, Any]:
        body = {"code": code, "event_type": FLIGHT, "aggregation": "sum", "value": "/minutes", **fields}
        if body["aggregation"] == "count":
            del body["value"]
        answer = await self.client.post("/v1/meters", json=body)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def usage(self, **parameters: Any) -> list[tuple[str, int]]:
        """(quantity, events) of each row."""
        wanted = {
            "meter": "minutes",
            "from": "2000-01-01T00:00:00Z",
            "to": "2030-01-01T00:00:00Z",
            **parameters,
        }
        told = await self.get("/v1/usage", **wanted)
        return [(row["quantity"], row["event_count"]) for row in told["data"]]

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        connection = await asyncpg.connect(asyncpg_dsn(self.service.database.admin_dsn))
        try:
            yield connection
        finally:
            await connection.close()

    async def said(self, kind: type[Event]) -> list[dict[str, Any]]:
        """Events of this type in the outbox, oldest first."""
        async with self.admin() as admin:
            rows = await admin.fetch(
                "SELECT data FROM outbox WHERE tenant = $1 AND type = $2 ORDER BY position",
                self.tenant,
                kind.TYPE,
            )
        return [json.loads(row["data"]) for row in rows]

    async def count(self, table: str) -> int:
        async with self.admin() as admin:
            counted = await admin.fetchval(f"SELECT count(*) FROM {table} WHERE tenant = $1", self.tenant)
        return int(counted)


def flight(id: str, at: str, minutes: Any = 60, subject: str = "N1", **changes: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": id,
        "source": SOURCE,
        "type": FLIGHT,
        "subject": subject,
        "time": at,
        "data": {"minutes": minutes},
    }
    return {**event, **changes}


class Story:
    """The events of one subscription with one usage item, as subscriptions would say them."""

    def __init__(self, tenant: str, *, meter: str = "minutes", clock: str | None = None) -> None:
        self.tenant, self.meter, self.clock = tenant, meter, clock
        self.subscription_id, self.customer_id = new_id("sub"), new_id("cus")
        self.item_id = new_id("si")
        self.version = 0
        self.billed_until: datetime | None = None
        self.zone, self.late_usage = "UTC", LateUsageV1()

    def price(self, id: str = "prc_1", **changes: Any) -> PriceV1:
        price = PriceV1(
            id=id,
            code="minutes",
            product_id="prd_1",
            description="Flying minutes",
            kind="usage",
            timing="arrears",
            model="per_unit",
            currency="USD",
            unit_amount=Decimal("5.20"),
            meter=self.meter,
        )
        return price.model_copy(update=changes)

    def subscription(self) -> SubscriptionV1:
        return SubscriptionV1(
            subscription_id=self.subscription_id,
            customer=CustomerV1(customer_id=self.customer_id, customer_version=1, name="Airline"),
            plan_version_id="plv_1",
            plan_name="Plan",
            currency="USD",
            zone=self.zone,
            late_usage=self.late_usage,
            anchor_on=utc("2025-01-01").date(),
            interval_unit="month",
            interval_count=1,
            items=(SubscriptionItemV1(item_id=self.item_id, price=self.price()),),
            starts_at=utc("2025-01-01"),
            billed_until=self.billed_until,
        )

    def segment(
        self, start: datetime, end: datetime, *, price: PriceV1 | None = None, item_id: str | None = None
    ) -> TermSegmentV1:
        return TermSegmentV1(
            item_id=item_id or self.item_id,
            price=price or self.price(),
            start_on=start.date(),
            end_on=end.date(),
            start=start,
            end=end,
        )

    def terms(
        self, period: BillingPeriodV1, *segments: TermSegmentV1, is_over: bool = False
    ) -> PeriodTermsV1:
        return PeriodTermsV1(period=period, segments=segments, is_over=is_over)

    def changed(
        self, at: datetime, *terms: PeriodTermsV1, kind: type[SubscriptionChangedV1] = SubscriptionChangedV1
    ) -> SubscriptionChangedV1:
        return kind(**self._common(at), subscription=self.subscription(), terms=terms)

    def period(self, index: int, end: datetime | None = None) -> BillingPeriodV1:
        start = datetime(2025 + index // 12, index % 12 + 1, 1, tzinfo=UTC)
        following = datetime(2025 + (index + 1) // 12, (index + 1) % 12 + 1, 1, tzinfo=UTC)
        ends = end or following
        return BillingPeriodV1(index=index, start_on=start.date(), end_on=ends.date(), start=start, end=ends)

    def _common(self, at: datetime) -> dict[str, Any]:
        self.version += 1
        return {
            "tenant": self.tenant,
            "version": self.version,
            "occurred_at": at,
            "test_clock": self.clock,
        }

    def started(self) -> SubscriptionStartedV1:
        period = self.period(0)
        return SubscriptionStartedV1(
            **self._common(period.start), subscription=self.subscription(), period=period
        )

    def renewed(self, index: int) -> SubscriptionRenewedV1:
        period = self.period(index)
        return SubscriptionRenewedV1(
            **self._common(period.start),
            subscription=self.subscription(),
            ended=self.period(index - 1),
            period=period,
        )

    def ended(self, index: int, end: datetime | None = None) -> SubscriptionEndedV1:
        period = self.period(index, end)
        return SubscriptionEndedV1(
            **self._common(period.end),
            subscription=self.subscription(),
            ended=period,
            ended_at=period.end,
            reason="canceled",
        )

    def binding(
        self, subject: str, start: str, end: str | None = None, id: str | None = None
    ) -> SubjectBindingV1:
        return SubjectBindingV1(
            binding_id=id or new_id("sbd"),
            subject=subject,
            meter=self.meter,
            subscription_id=self.subscription_id,
            item_id=self.item_id,
            bound_from=utc(start),
            bound_until=utc(end) if end else None,
        )

    def bound(self, subject: str = "N1", start: str = "2025-01-01", end: str | None = None) -> SubjectBoundV1:
        return SubjectBoundV1(
            tenant=self.tenant,
            occurred_at=utc(start),
            test_clock=self.clock,
            binding=self.binding(subject, start, end),
        )

    def bound_between(self, subject: str, start: datetime, end: datetime) -> SubjectBoundV1:
        bound = self.bound(subject)
        binding = bound.binding.model_copy(update={"bound_from": start, "bound_until": end})
        return bound.model_copy(update={"binding": binding})

    def released(self, bound: SubjectBoundV1, end: str) -> SubjectReleasedV1:
        return SubjectReleasedV1(
            tenant=self.tenant,
            version=bound.version + 1,
            occurred_at=utc(end),
            test_clock=self.clock,
            binding=bound.binding.model_copy(update={"bound_until": utc(end)}),
        )

    def clock_moved(self, now: str, version: int) -> TestClockMovedV1:
        assert self.clock is not None
        return TestClockMovedV1(
            tenant=self.tenant,
            version=version,
            occurred_at=utc(now),
            test_clock=self.clock,
            clock_id=self.clock,
            now=utc(now),
        )


async def audited(metering: Metering) -> list[str]:
    """What an audit finds wrong with this tenant's sums, totals and identities."""
    report = await audit_metering(metering.service.parts.audit_database)
    wanted = {"running_sums", "members_of_sums", "window_totals", "keys_and_events", "usage_batches"}
    wanted |= {"recounts_refused"}
    checks = [check for check in report.checks if check.name in wanted]
    assert len(checks) == len(wanted)
    return [
        f"{check.name}: {problem}"
        for check in checks
        for problem in check.problems
        if metering.tenant in problem or check.name == "window_totals"
    ]


def statuses(told: Mapping[str, Any]) -> list[str]:
    return [result["status"] for result in told["results"]]


def codes(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(reason["code"], reason["pointer"]) for reason in result["reasons"]]


def ids_of(page: Mapping[str, Any]) -> Sequence[str]:
    return [item["id"] for item in page["data"]]


def client_of(metering: Metering, *scopes: str, **claims: Any) -> httpx.AsyncClient:
    return metering.service.client(metering.tenant, *scopes, **claims)


def fresh() -> str:
    return str(uuid4())

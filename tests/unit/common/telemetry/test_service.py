"""Whose span it is, in a process that holds all services."""

from __future__ import annotations

import asyncio

from libs.common.telemetry import TraceRing, current_service, service_scope, span, within_service
from libs.common.telemetry.service import Message, Receive, Scope, Send


async def test_spans_are_stamped_with_the_service_at_work(ring: TraceRing) -> None:
    async def work(name: str) -> None:
        await asyncio.sleep(0)
        with span(f"in {name}"):
            await asyncio.sleep(0)

    tasks = []
    for name in ("catalog", "billing"):
        with service_scope(name):
            tasks.append(asyncio.create_task(work(name)))  # a task keeps what it was started in
    await asyncio.gather(*tasks, work("nothing"))

    assert {(t.name, t.services) for t in ring.list_traces()} == {
        ("in catalog", ("catalog",)),
        ("in billing", ("billing",)),
        ("in nothing", ("",)),
    }


async def test_one_trace_crosses_services(ring: TraceRing) -> None:
    with service_scope("subscriptions"), span("send"), service_scope("billing"), span("process"):
        pass

    (trace,) = ring.list_traces()
    assert set(trace.services) == {"subscriptions", "billing"}


async def test_an_app_runs_as_its_service() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_service.get())

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        return None

    await within_service(app, "metering")({"type": "http"}, receive, send)

    assert seen == ["metering"]
    assert current_service.get() == ""

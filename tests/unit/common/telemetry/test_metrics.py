"""Numbers that are more than a count: lag of the loop, requests in flight, what is known no more."""

from __future__ import annotations

import asyncio
import time

import pytest

from libs.common.telemetry import metrics, sample_loop_lag
from libs.common.telemetry.metrics import REGISTRY
from libs.common.telemetry.requests import RequestTelemetry
from libs.common.telemetry.service import Receive, Scope, Send


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_a_step_that_holds_the_loop_shows() -> None:
    def late() -> float:
        lag = "perennial_event_loop_lag_seconds"
        return (value(f"{lag}_count") or 0.0) - (value(f"{lag}_bucket", le="0.25") or 0.0)

    before = late()
    sampling = asyncio.create_task(sample_loop_lag())
    await asyncio.sleep(0.01)
    time.sleep(0.6)  # noqa: ASYNC251  # the very thing that must not be
    await asyncio.sleep(0.05)
    sampling.cancel()
    assert late() == before + 1


async def test_requests_are_in_flight_until_they_are_answered_or_fail() -> None:
    seen: list[float | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(value("perennial_http_requests_in_flight", service="flights"))
        if scope["path"] == "/fails":
            raise RuntimeError

    async def nothing(*_: object) -> None: ...

    observed = RequestTelemetry(app, service="flights")
    scope = {"type": "http", "method": "GET", "headers": []}
    await observed({**scope, "path": "/"}, nothing, nothing)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        await observed({**scope, "path": "/fails"}, nothing, nothing)  # type: ignore[arg-type]
    assert seen == [1.0, 1.0]
    assert value("perennial_http_requests_in_flight", service="flights") == 0.0


def test_a_batch_is_timed_when_it_came_to_its_end() -> None:
    labels = {"service": "timed", "group": "timed"}
    with metrics.consumer_batch("timed", "timed"):
        pass
    with pytest.raises(RuntimeError), metrics.consumer_batch("timed", "timed"):
        raise RuntimeError
    assert value("perennial_consumer_batch_duration_seconds_count", **labels) == 1.0


def test_a_worker_that_does_not_publish_says_nothing_of_the_outbox() -> None:
    metrics.outbox("two", waiting=3, age_s=70, refused=1)
    metrics.outbox_is_elsewhere("two")
    metrics.outbox_is_elsewhere("two")
    for name in ("age_seconds", "backlog_events", "refused_events"):
        assert value(f"perennial_outbox_{name}", service="two") is None


def test_an_audit_leaves_what_it_found_and_when() -> None:
    metrics.audited("audited", 3)
    assert value("perennial_audit_findings", service="audited") == 3.0
    when = value("perennial_audit_last_run_timestamp_seconds", service="audited")
    assert when is not None
    assert abs(time.time() - when) < 5


def test_no_label_is_one_that_prometheus_writes_itself() -> None:
    for family in REGISTRY.collect():
        for sample in family.samples:
            assert not {"job", "instance", "process"} & sample.labels.keys(), sample.name

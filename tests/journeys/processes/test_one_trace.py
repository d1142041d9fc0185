"""One renewal is one trace over processes and Kafka, as a collector receives it from each of them."""

from __future__ import annotations

import time
from collections import defaultdict

import pytest

from tests.journeys.traces.test_one_renewal_is_one_trace import (
    BILLING,
    METERING,
    SUBSCRIPTIONS,
    Traces,
    path_to_root,
)
from tests.support.demo import run_demo
from tests.support.fleet import Fleet
from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan

CATALOG = "perennial-catalog"


@pytest.fixture(scope="module")
def traces(processes: Fleet, receiver: OtlpReceiver) -> Traces:
    """By trace id, once nothing more arrives."""
    run_demo(processes, "--months", "1", "--carriers", "HA", "--quiet")
    seen = -1
    while seen != len(receiver.spans):
        seen = len(receiver.spans)
        time.sleep(1)
    found: Traces = defaultdict(list)
    for span in receiver.spans:
        found[span.trace_id].append(span)
    return found


@pytest.fixture(scope="module")
def renewals(traces: Traces) -> list[list[ReceivedSpan]]:
    """The traces that lead from a renewal to the news of its payment."""
    return [
        spans
        for spans in traces.values()
        if any(span.name == "renew subscription" for span in spans)
        and any(span.name == "close usage window" for span in spans)
    ]


def test_it_leads_from_the_renewal_through_three_services_and_back(
    renewals: list[list[ReceivedSpan]],
) -> None:
    assert renewals
    for spans in renewals:
        news = [s for s in spans if s.service == SUBSCRIPTIONS and s.name == "process perennial.billing.v1"]
        assert path_to_root(max(news, key=lambda span: span.started_ns), spans) == [
            f"{SUBSCRIPTIONS}: renew subscription",
            f"{SUBSCRIPTIONS}: send perennial.subscriptions.v1",
            f"{METERING}: process perennial.subscriptions.v1",
            f"{METERING}: close usage window",
            f"{METERING}: send perennial.metering.v1",
            f"{BILLING}: process perennial.metering.v1",
            f"{BILLING}: collect payment",
            f"{BILLING}: send perennial.billing.v1",
            f"{SUBSCRIPTIONS}: process perennial.billing.v1",
        ]
        assert not [span.name for span in spans if span.failed]


def test_it_was_made_by_processes_of_their_own(renewals: list[list[ReceivedSpan]]) -> None:
    """Each service's spans come from one process, and each process sends one service's."""
    by_service: dict[str, set[str]] = defaultdict(set)
    for spans in renewals:
        for span in spans:
            by_service[span.service].add(str(span.resource["service.instance.id"]))
    assert set(by_service) >= {SUBSCRIPTIONS, METERING, BILLING}
    instances = [instance for found in by_service.values() for instance in found]
    assert len(instances) == len(set(instances)), by_service


def test_its_root_links_to_the_tick_that_found_it(renewals: list[list[ReceivedSpan]], traces: Traces) -> None:
    for spans in renewals:
        (root,) = [span for span in spans if span.parent_id is None]
        (tick,) = root.links
        assert "tick renew_subscriptions" in {span.name for span in traces[tick]}


def test_messages_name_kafka_and_where_they_stood(renewals: list[list[ReceivedSpan]]) -> None:
    sent = [s for spans in renewals for s in spans if s.name.startswith("send perennial.")]
    processed = [s for spans in renewals for s in spans if s.name.startswith("process perennial.")]
    assert {span.attributes["messaging.system"] for span in sent + processed} == {"kafka"}
    assert all("messaging.kafka.offset" in span.attributes for span in processed)


def test_a_request_at_the_gateway_continues_the_callers_trace(
    processes: Fleet, receiver: OtlpReceiver
) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    with processes.client() as client:
        answer = client.get("/v1/products", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    assert answer.headers["x-trace-id"] == trace_id
    receiver.wait_for(lambda spans: any(s.trace_id == trace_id and s.service == CATALOG for s in spans))

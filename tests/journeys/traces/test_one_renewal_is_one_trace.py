"""One renewal is one trace: from the scheduler that renewed it, through the bus and the window, to the payment."""

from __future__ import annotations

import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.journeys.flights.test_a_year_of_flights import DEMO, ROOT, environment
from tests.support.one_process import OneProcess, one_process
from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan

SUBSCRIPTIONS, METERING, BILLING = "perennial-subscriptions", "perennial-metering", "perennial-billing"

Traces = dict[str, list[ReceivedSpan]]


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def process(receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneProcess]:
    log = tmp_path_factory.mktemp("traces") / "log"
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with one_process(log, **collector) as process:
        process.start()
        story = [*DEMO, "--months", "2", "--carriers", "HA", "--quiet"]
        subprocess.run(story, cwd=ROOT, env=environment(process), check=True, timeout=120)
        yield process


@pytest.fixture(scope="module")
def traces(process: OneProcess, receiver: OtlpReceiver) -> Traces:
    """As a collector received them over OTLP, by trace id, once nothing more arrives."""
    seen = -1
    while seen != len(receiver.spans):
        seen = len(receiver.spans)
        time.sleep(1)
    found: Traces = defaultdict(list)
    for span in receiver.spans:
        found[span.trace_id].append(span)
    return found


def renewal_of(traces: Traces) -> list[ReceivedSpan]:
    """The trace of the one renewal that is neither the start nor the end: it bills January, and February's fee."""
    complete = [
        spans
        for spans in traces.values()
        if any(span.name == "renew subscription" for span in spans)
        and any(span.name == "close usage window" for span in spans)
        and any(span.service == METERING and "process" in span.name for span in spans)
    ]
    assert len(complete) == 2, [sorted({span.name for span in spans}) for spans in complete]
    return min(complete, key=lambda spans: min(span.started_ns for span in spans))


def path_to_root(span: ReceivedSpan, spans: list[ReceivedSpan]) -> list[str]:
    by_id = {each.span_id: each for each in spans}
    path = [f"{span.service}: {span.name}"]
    while span.parent_id is not None:
        span = by_id[span.parent_id]
        path.append(f"{span.service}: {span.name}")
    return path[::-1]


def test_the_trace_leads_from_the_renewal_to_the_payment(traces: Traces) -> None:
    spans = renewal_of(traces)
    news_of_payment = [
        span
        for span in spans
        if span.service == SUBSCRIPTIONS and span.name == "process perennial.billing.v1"
    ]
    assert path_to_root(max(news_of_payment, key=lambda span: span.started_ns), spans) == [
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


def test_its_root_links_to_the_tick_that_found_it(traces: Traces) -> None:
    (root,) = [span for span in renewal_of(traces) if span.parent_id is None]
    (tick,) = root.links
    assert "tick renew_subscriptions" in {span.name for span in traces[tick]}


def test_batches_link_to_their_messages(traces: Traces) -> None:
    renewal = renewal_of(traces)[0].trace_id
    batches = [
        span
        for spans in traces.values()
        for span in spans
        if span.name.startswith("process batch ") and renewal in span.links
    ]
    assert {span.service for span in batches} >= {METERING, BILLING, SUBSCRIPTIONS}


def test_messages_are_described_by_the_current_names(traces: Traces) -> None:
    spans = renewal_of(traces)
    sent = next(span for span in spans if span.name == "send perennial.subscriptions.v1")
    assert sent.attributes["messaging.operation.type"] == "send"
    assert sent.attributes["messaging.destination.name"] == "perennial.subscriptions.v1"
    heard = [span for span in spans if span.name == "process perennial.metering.v1"]
    assert {span.service for span in heard} == {SUBSCRIPTIONS, BILLING}
    processed = next(span for span in heard if span.service == BILLING)
    assert processed.attributes["messaging.consumer.group.name"] == "perennial.billing"
    assert processed.attributes["messaging.operation.type"] == "process"


def test_sql_is_part_of_the_story(traces: Traces) -> None:
    collect = [span for span in renewal_of(traces) if "sandbox_gateway_payment" in span.name]
    assert collect
    assert all(span.service == BILLING for span in collect)


def test_operators_see_the_renewal_without_a_collector(process: OneProcess, traces: Traces) -> None:
    trace_id = renewal_of(traces)[0].trace_id
    with process.client(process.operator_token()) as operator:
        listed = operator.get("/ops/traces.json", params={"name": "renew subscription"}).json()
        assert trace_id in {trace["trace_id"] for trace in listed["traces"]}
        shown = operator.get(f"/ops/traces/{trace_id}.json").json()
        assert {span["name"] for span in shown["spans"]} >= {"renew subscription", "collect payment"}
        page = operator.get(f"/ops/traces/{trace_id}", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert "close usage window" in page.text


def test_the_timeline_of_the_subscription_leads_to_it(process: OneProcess, traces: Traces) -> None:
    trace_id = renewal_of(traces)[0].trace_id
    with process.client() as tenant:
        [subscription] = tenant.get("/v1/subscriptions").json()["data"]
        told = tenant.get(f"/v1/subscriptions/{subscription['id']}/timeline").json()["data"]
    assert [entry["event"] for entry in told if entry["trace_id"] == trace_id] == [
        "SubscriptionRenewed",
        "UsageWindowClosed",
        "InvoiceFinalized",
        "InvoicePaid",
    ]


def test_the_traces_are_for_operators_only(process: OneProcess) -> None:
    with process.client() as tenant:
        assert tenant.get("/ops/traces.json").status_code == 403
    assert httpx.get(f"{process.base_url}/ops/traces.json").status_code == 401


def test_a_problem_names_its_trace(process: OneProcess, traces: Traces) -> None:
    with process.client() as tenant:
        answer = tenant.get("/v1/invoices/inv_00000000000000000000000000")
    assert answer.status_code == 404
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


def test_metrics_are_there_for_every_service(process: OneProcess, traces: Traces) -> None:
    told = httpx.get(f"{process.base_url}/metrics").text
    for service in ("catalog", "subscriptions", "metering", "billing"):
        assert f'perennial_outbox_age_seconds{{service="{service}"}}' in told
    assert 'perennial_payments_total{outcome="succeeded",service="billing"}' in told
    assert "perennial_http_request_duration_seconds_bucket" in told


def test_the_log_is_json_with_trace_ids(process: OneProcess) -> None:
    lines = [line for line in Path(process.log).read_text().splitlines() if line.startswith("{")]
    assert all('"ts"' in line and '"level"' in line and '"service"' in line for line in lines)

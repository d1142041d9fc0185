"""The process as an operator meets it: its metrics have the series that the rules ask for, its command line works."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from typer.testing import CliRunner, Result

from libs.cli.main import app
from libs.common.contracts import SERVICES
from tests.support.one_process import OneProcess, one_process
from tests.support.promql import asked

ROOT = Path(__file__).resolve().parents[3]
WATCHED_WITHIN_S = 30

# What shows only once it has happened; the contract tests know that it could.
ONLY_AFTER = {
    "perennial_events_failed_total",
    "perennial_payments_total",
    "perennial_usage_events_total",
    "otelcol_exporter_send_failed_spans_total",
    "up",
}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneProcess]:
    log = tmp_path_factory.mktemp("operations") / "log"
    with one_process(log) as started:
        started.start()
        yield started


def perennial(process: OneProcess, *words: str, **environment: str) -> Result:
    variables = {"PERENNIAL_VAR_FOLDER": str(process.folder), "PERENNIAL_URL": process.base_url}
    return CliRunner().invoke(app, list(words), env=variables | environment)


def series(process: OneProcess) -> list[tuple[str, dict[str, str]]]:
    text = httpx.get(f"{process.base_url}/metrics", trust_env=False).text
    lines = re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", text, flags=re.MULTILINE)
    return [(name, dict(re.findall(r'(\w+)="([^"]*)"', labels))) for name, labels in lines]


def test_what_the_alerts_ask_for_is_there(process: OneProcess) -> None:
    """With the labels by which they pick it, and for all four services."""
    assert perennial(process, "audit").exit_code == 0
    with process.client() as client:
        assert client.get("/v1/products").status_code == 200
    httpx.get(f"{process.base_url}/health/ready", trust_env=False).raise_for_status()
    rules = yaml.safe_load((ROOT / "deploy/observability/alerts.yaml").read_text())["groups"]
    wanted = {one for group in rules for rule in group["rules"] for one in asked(rule["expr"])}
    deadline = time.monotonic() + WATCHED_WITHIN_S
    while True:
        found = series(process)
        lacking = [
            one
            for one in wanted
            if one.metric not in ONLY_AFTER
            and not any(
                name == one.metric and one.labels - {"job", "instance", "process"} <= labels.keys()
                for name, labels in found
            )
        ]
        if not lacking or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert lacking == []
    for name in (
        "perennial_ready",
        "perennial_outbox_age_seconds",
        "perennial_outbox_refused_events",
        "perennial_dead_letters",
        "perennial_watch_last_look_timestamp_seconds",
        "perennial_housekeeping_last_run_timestamp_seconds",
        "perennial_audit_findings",
        "perennial_database_connections_max",
    ):
        of = {labels["service"] for metric, labels in found if metric == name}
        assert of == set(SERVICES), name


def test_the_audit_is_clean_and_can_be_read_by_a_program(process: OneProcess) -> None:
    told = perennial(process, "audit", "--json")
    assert told.exit_code == 0
    report = json.loads(told.stdout)
    assert report["ok"]
    assert {check["service"] for check in report["checks"]} == {*SERVICES, "all"}


def test_without_dead_letters_it_says_so(process: OneProcess) -> None:
    assert "There are no dead letters" in perennial(process, "dead-letters", "list").stdout
    assert perennial(process, "dead-letters", "redrive", "--service", "billing").stdout == "0 redriven\n"


def test_a_dead_letter_that_there_is_not_is_said_in_a_line(process: OneProcess) -> None:
    told = perennial(process, "dead-letters", "show", "evt_none", "--service", "billing")
    assert told.exit_code == 2
    assert "404" in told.stderr
    assert "Traceback" not in told.output


def test_a_token_of_another_deployment_is_refused_in_a_line(process: OneProcess) -> None:
    told = perennial(process, "audit", PERENNIAL_TOKEN="a.b.c")
    assert told.exit_code == 2
    assert "401" in told.stderr


def test_a_tenants_token_does_not_operate(process: OneProcess) -> None:
    told = perennial(process, "audit", PERENNIAL_TOKEN=process.token)
    assert told.exit_code == 2
    assert "403" in told.stderr

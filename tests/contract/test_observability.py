"""What operators see is what the code emits: rules, dashboard, runbooks and configuration agree with each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from libs.common.contracts import SERVICES
from libs.common.telemetry.metrics import REGISTRY
from tests.support.promql import asked

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "observability"
RUNBOOK = "docs/operating.md"

PROCESSES = {f"{service}-{kind}" for service in SERVICES for kind in ("api", "worker")}

# Written by Prometheus on everything that it scrapes; `process` by our relabelling.
TARGET_LABELS = {"job", "instance", "process"}
# Emitted by others, with the labels that are used.
FOREIGN: dict[str, set[str]] = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate"},
    "otelcol_exporter_send_failed_spans_total": {"exporter"},
    "process_start_time_seconds": set(),
    "process_resident_memory_bytes": set(),
    "process_cpu_seconds_total": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
}

# What each section of a runbook tells, in this order.
TOLD = ("Means", "At stake", "Look first", "Do", "Over")

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule["alert"] for rule in RULES]
DASHBOARD = json.loads((FOLDER / "grafana" / "dashboards" / "perennial.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
COMPOSE = yaml.safe_load((FOLDER / "compose.yml").read_text())["services"]


def emitted() -> dict[str, set[str]]:
    """Every series of the registry by its name in the text format, with its labels."""
    found: dict[str, set[str]] = dict(FOREIGN)
    for collector, names in REGISTRY._collector_to_names.items():
        if isinstance(collector, MetricWrapperBase):
            labels = set(collector._labelnames)
            for name in names:
                found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found


def with_ranges(expression: str) -> str:
    """Grafana's own words, as Prometheus would get them."""
    return expression.replace("$__rate_interval", "1m").replace("$service", ".*")


def check_emitted(expression: str) -> None:
    known = emitted()
    series = asked(expression)
    assert series, expression
    for one in series:
        assert one.metric in known, f"nothing emits {one.metric}"
        lacking = one.labels - known[one.metric] - TARGET_LABELS
        assert not lacking, f"{one.metric} has no label {', '.join(sorted(lacking))}"


@pytest.mark.parametrize("rule", RULES, ids=ALERTS)
def test_an_alert_asks_for_what_is_emitted(rule: dict[str, Any]) -> None:
    check_emitted(rule["expr"])


@pytest.mark.parametrize("rule", RULES, ids=ALERTS)
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"{RUNBOOK}#{rule['alert'].lower()}"


def sections() -> dict[str, str]:
    text = (ROOT / RUNBOOK).read_text()
    found = re.split(r"^### (Perennial\w+)$", text, flags=re.MULTILINE)[1:]
    bodies = [re.split(r"^#{1,3} ", body, flags=re.MULTILINE)[0] for body in found[1::2]]
    return dict(zip(found[::2], bodies, strict=True))


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert len(ALERTS) == len(set(ALERTS))
    assert list(sections()) == ALERTS


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_tells_all_that_is_needed_at_night(alert: str) -> None:
    told = re.findall(r"^- \*\*(.+?):\*\* \S", sections().get(alert, ""), flags=re.MULTILINE)
    assert tuple(told) == TOLD


def test_every_alert_has_a_story_in_which_it_fires_and_a_moment_in_which_it_does_not() -> None:
    fires, is_silent = set(), set()
    for story in yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]:
        for check in story.get("promql_expr_test", ()):
            name = re.search(r'alertname="(\w+)"', check["expr"])
            assert name is not None
            assert name[1] in story["name"]
            (fires if check["exp_samples"] else is_silent).add(name[1])
    at_once = {rule["alert"] for rule in RULES if "for" not in rule}
    assert fires == set(ALERTS)
    assert is_silent >= set(ALERTS) - at_once


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_asks_for_what_is_emitted(panel: dict[str, Any]) -> None:
    assert panel["description"]
    for target in panel["targets"]:
        check_emitted(with_ranges(target["expr"]))


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert_and_in_the_table_of_metrics() -> None:
    ours = {metric.name for metric in REGISTRY.collect() if metric.name.startswith("perennial_")}
    used = {
        one.metric
        for expression in [rule["expr"] for rule in RULES]
        + [with_ranges(target["expr"]) for panel in PANELS for target in panel["targets"]]
        for one in asked(expression)
    }
    plain = {re.sub(r"_(total|bucket)$", "", name) for name in used}
    assert ours - plain == set()
    told = set(re.findall(r"^\| `(perennial_\w+)", (ROOT / RUNBOOK).read_text(), flags=re.MULTILINE))
    assert {re.sub(r"_total$", "", name) for name in told} == ours


def test_the_dashboard_is_laid_out_without_overlap_and_finds_its_data() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    sources = yaml.safe_load((FOLDER / "grafana" / "datasources" / "perennial.yaml").read_text())
    known = {source["uid"] for source in sources["datasources"]}
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} <= known
    for source in sources["datasources"]:
        assert re.fullmatch(r"http://([a-z-]+):\d+", source["url"])[1] in COMPOSE  # type: ignore[index]


def test_every_process_is_scraped_and_missed() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (found,) = jobs["perennial"]["dns_sd_configs"]
    assert set(found["names"]) == PROCESSES
    (missing,) = [rule for rule in RULES if rule["alert"] == "PerennialProcessMissing"]
    assert set(re.findall(r'process="([a-z-]+)"', missing["expr"])) == PROCESSES


def test_the_processes_are_where_prometheus_looks_for_them() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert services.keys() >= PROCESSES
    (found,) = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"][0]["dns_sd_configs"]
    for process in PROCESSES:
        environment = services[process]["environment"]
        assert environment["PERENNIAL_PORT"] == str(found["port"])
        assert environment["PERENNIAL_HOST"] == "0.0.0.0"
        collector = yaml.safe_load((FOLDER / "collector.yaml").read_text())
        port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rsplit(":", 1)[1]
        assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://otel-collector:{port}"


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_a_container_that_watches_is_pinned_bounded_private_and_without_a_password(name: str) -> None:
    service = COMPOSE[name]
    assert re.fullmatch(r"[a-z]+/[a-z-]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["mem_limit"]
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")
    for volume in service.get("volumes", ()):
        source, *_, mode = volume.split(":")
        if source.startswith("."):
            assert mode == "ro"
            assert (FOLDER / source).exists()
    assert not [variable for variable in service.get("environment", {}) if "PASSWORD" in variable]


def test_grafana_shows_everybody_and_lets_nobody_in() -> None:
    environment = COMPOSE["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"


def test_the_collector_uses_every_part_that_it_has_and_lacks_none() -> None:
    config = yaml.safe_load((FOLDER / "collector.yaml").read_text())
    (pipeline,) = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(config[kind])
    assert set(config["service"]["extensions"]) == set(config["extensions"])
    assert pipeline["processors"][0] == "memory_limiter"
    for exporter in config["exporters"].values():
        assert re.fullmatch(r"http://([a-z-]+):\d+", exporter["endpoint"])[1] in COMPOSE  # type: ignore[index]
    reader = config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    assert f"otel-collector:{reader['port']}" in (FOLDER / "prometheus.yaml").read_text()

"""What the gateway's file says agrees with the services: every first segment goes to the one that answers it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from libs.common.contracts import SERVICES
from tests.contract.documents import documents

FILE = Path(__file__).resolve().parents[2] / "deploy" / "gateway" / "Caddyfile"
TEXT = FILE.read_text(encoding="utf-8")


def test_each_service_gets_its_own_segments_and_no_others() -> None:
    for service in SERVICES:
        document = documents()[f"openapi-{service}.json"]
        wanted = {path.split("/")[2] for path in document["paths"] if path.startswith("/v1/")}
        matcher = re.search(rf"^\t@{service} path_regexp \^/v1/\(([a-z|-]+)\)\(/\|\$\)$", TEXT, re.MULTILINE)
        assert matcher, service
        assert matcher[1].split("|") == sorted(wanted), service
        assert re.search(rf"\thandle @{service} \{{\n\t\timport {service}\n\t\}}", TEXT), service


def test_addresses_of_others_go_to_the_one_that_answers_them() -> None:
    found = {}
    for name, document in documents().items():
        paths = [path for path in document.get("paths", {}) if not path.startswith("/v1/")]
        found |= {path: name.removeprefix("openapi-").removesuffix(".json") for path in paths}
    assert found == {"/api/v1/events": "metering"}
    for path, service in found.items():
        assert f"\thandle {path} {{\n\t\timport {service}\n\t}}" in TEXT, path


def test_each_service_is_asked_for_its_document_and_its_readiness() -> None:
    for service in SERVICES:
        for path, inside in (
            (f"/openapi/{service}.json", "/openapi.json"),
            (f"/health/ready/{service}", "/health/ready"),
        ):
            assert f"\thandle {path} {{\n\t\trewrite * {inside}\n\t\timport {service}\n\t}}" in TEXT, path


def test_it_can_be_used_as_it_is() -> None:
    caddy = Path(sys.executable).parent / "caddy"
    checked = subprocess.run(
        [caddy, "validate", "--config", str(FILE)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    formatted = subprocess.run([caddy, "fmt", str(FILE)], capture_output=True, text=True, check=True)
    assert formatted.stdout == TEXT


def test_nobody_can_change_it_while_it_runs() -> None:
    assert "\n\tadmin off\n" in TEXT

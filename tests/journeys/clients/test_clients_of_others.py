"""The published clients of OpenMeter and of CloudEvents, unchanged and in an environment of their own, send usage."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cases.server import SharedServer

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements-clients.lock"
SCRIPT = Path(__file__).with_name("send_with_both.py")


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the environment in which the clients are, and nothing of ours."""
    folder = tmp_path_factory.mktemp("clients")
    venv.create(folder)
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    sync: list[str | Path] = [uv, "pip", "sync", "--quiet", "--require-hashes", LOCK, "--python", python]
    made = subprocess.run(sync, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return python


def test_both_send_usage_as_they_were_published(clients: Path, shared_server: SharedServer) -> None:
    process = shared_server.process()
    event_type = f"washer.run.{uuid4()}"
    meter = {
        "code": f"litres_{uuid4().hex[:12]}",
        "event_type": event_type,
        "aggregation": "sum",
        "value": "/litres",
    }
    with process.client() as client:
        assert client.post("/v1/meters", json=meter).status_code == 201
        sent = subprocess.run(
            [clients, "-I", SCRIPT, process.base_url, process.token, event_type],
            capture_output=True,
            text=True,
            check=False,
            cwd=clients.parent,
        )
        assert sent.returncode == 0, sent.stderr
        told = json.loads(sent.stdout)
        day = {"from": "2025-01-10T00:00:00Z", "to": "2025-01-11T00:00:00Z"}
        asked = {"meter": meter["code"], "subject": "washer-7", **day}
        usage = client.get("/v1/usage", params=asked).json()["data"]

    assert told["refused"]["status"] == 400
    assert told["refused"]["title"] == "Some events were refused"
    assert told["refused"]["detail"] == "1 of 2 events were refused, the others are kept"
    assert told["cloudevents"] == [204, 200, 204, 200]
    assert [(row["quantity"], row["event_count"]) for row in usage] == [("63.75", 6)]

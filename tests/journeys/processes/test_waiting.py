"""Processes that start before their database and their bus wait for them; what is missing in their settings is told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from deploy import migrate
from libs.common.ids import new_id
from libs.common.settings import InvalidSettings
from tests.support.demo import ROOT
from tests.support.fleet import Fleet


def test_they_start_without_database_and_bus_and_wait(processes: Fleet) -> None:
    waiting = ("catalog-api", "catalog-worker")
    for name in ("postgres", "kafka", *waiting):
        processes.kill(name)
    for name in waiting:
        processes.launch(name)
    with httpx.Client(timeout=10, trust_env=False) as client:
        for name in waiting:
            until_live(client, processes, name)
            assert client.get(f"http://{processes.address(name)}/health/ready").status_code == 503
        assert all(processes.is_running(name) for name in waiting)

        processes.launch("kafka")
        processes.start("postgres")
        for name in (*waiting, "kafka"):
            processes.await_ready(name)

    # What is changed now is told to the others, by way of both.
    with processes.client() as tenant:
        code = new_id("product")
        made = tenant.post(
            "/v1/products",
            json={"code": code, "name": "Wash", "kind": "service"},
            headers={"idempotency-key": code},
        )
        assert made.status_code == 201, made.text
        published = f"http://{processes.address('catalog-worker')}/metrics"
        deadline = time.monotonic() + 30
        while 'perennial_outbox_backlog_events{service="catalog"} 0.0' not in httpx.get(published).text:
            assert time.monotonic() < deadline, processes.tail("catalog-worker")
            time.sleep(0.1)
    for name in processes.names:
        assert processes.is_running(name), name


def until_live(client: httpx.Client, fleet: Fleet, name: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert fleet.is_running(name), fleet.tail(name)
        assert time.monotonic() < deadline, fleet.tail(name)
        try:
            if client.get(f"http://{fleet.address(name)}/health/live").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)


def test_migrating_again_while_all_runs_changes_nothing(processes: Fleet) -> None:
    """Two at once, too: they take turns."""
    with ThreadPoolExecutor() as both:
        assert list(both.map(processes.run, ["migrate", "migrate"])) == [0, 0]
    with processes.client() as client:
        assert client.get("/v1/products").status_code == 200


def test_a_setting_that_is_missing_or_wrong_is_told_and_nothing_starts(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    whole = {
        "PERENNIAL_DATABASE_URL": "postgresql://127.0.0.1:1",
        "PERENNIAL_DATABASE_PASSWORD": "a-password",
        "PERENNIAL_KEY_FILE": str(keys),
        "PERENNIAL_PEERS_URL": "http://127.0.0.1:1",
    }
    started = {
        "nothing is set": start("services.catalog.entrypoints.api", {}),
        "no key file": start("services.metering.entrypoints.worker", whole),
    }
    told = {}
    for name, process in started.items():
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 1, (name, out)
        assert "Traceback" not in out, (name, out)
        assert "a-password" not in out
        told[name] = out
    for variable in ("DATABASE_URL", "DATABASE_PASSWORD", "KEY_FILE", "PEERS_URL"):
        assert f"PERENNIAL_{variable} is not set" in told["nothing is set"]
    assert "catalog could not start" in told["nothing is set"]
    assert str(keys) in told["no key file"]


def test_migrating_without_its_settings_says_what_is_missing(capfd: pytest.CaptureFixture[str]) -> None:
    given = {
        "PERENNIAL_DATABASE_URL": "postgresql://127.0.0.1:1",
        "PERENNIAL_DATABASE_PASSWORD": "a-password",
    }
    with pytest.raises(
        InvalidSettings, match="PERENNIAL_DATABASE_ADMIN_PASSWORD is not set: give it a secret"
    ):
        asyncio.run(migrate.run(given, say=print))
    whole = given | {"PERENNIAL_DATABASE_ADMIN_PASSWORD": "another", "PERENNIAL_MIGRATE_WAIT_S": "0.1"}
    with pytest.raises(migrate.NotThere, match=r"PostgreSQL does not answer at postgresql://127\.0\.0\.1:1"):
        asyncio.run(migrate.run(whole, say=print))
    told = "".join(capfd.readouterr())
    assert "a-password" not in told
    assert "another" not in told


def start(module: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PERENNIAL_")}
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

"""The embedded PostgreSQL starts, survives, is adopted, and lets nobody else in."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from libs.common.persistence import embedded
from libs.common.persistence.embedded import EmbeddedPostgres, EmbeddedPostgresFailed
from libs.common.persistence.server_account import server_account
from libs.common.persistence.session import asyncpg_dsn
from tests.support.postgres import SMALL, cluster_folder

ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534
STARTER = """
import sys, time
from pathlib import Path
from libs.common.persistence.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), fsync=False)
server.start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with cluster_folder() as folder:
        yield folder


@pytest.fixture
def server(folder: Path) -> EmbeddedPostgres:
    server = EmbeddedPostgres(folder, fsync=False, settings=SMALL)
    server.start()
    return server


def start_elsewhere(folder: Path) -> subprocess.Popen[str]:
    """A process of its own, in a process group of its own, that starts the server and stays."""
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def await_started(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"


def pid_of(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def sleeper(uid: int | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "600"], user=uid, cwd="/")


def crash(folder: Path) -> None:
    """What a crash of the machine does to the server: no clean-up of any kind."""
    os.kill(pid_of(folder), signal.SIGKILL)


async def ask(server: EmbeddedPostgres, statement: str) -> Any:
    connection = await asyncpg.connect(asyncpg_dsn(server.dsn()))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_data_survives_stop_and_start_and_the_second_start_is_fast(server: EmbeddedPostgres) -> None:
    await ask(server, "CREATE TABLE kept AS SELECT 7 AS number")
    server.stop()
    assert not server.is_running()
    started = time.monotonic()
    server.start()
    assert time.monotonic() - started < 1.5
    assert await ask(server, "SELECT number FROM kept") == 7


async def test_starting_twice_and_stopping_twice_is_harmless(server: EmbeddedPostgres, folder: Path) -> None:
    pid = pid_of(folder)
    server.start()
    assert pid_of(folder) == pid
    server.stop()
    server.stop()
    assert not server.is_running()


async def test_settings_are_in_force(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    for name in ("synchronous_commit", "fsync", "full_page_writes"):
        assert await ask(server, f"SHOW {name}") == "on"
    assert await ask(server, "SHOW jit") == "off"
    assert await ask(server, "SHOW max_connections") == "200"
    assert await ask(server, "SHOW server_version_num") >= "180000"
    assert await ask(server, "SELECT count(*) FROM pg_available_extensions WHERE name = 'btree_gist'") == 1
    assert await ask(server, "SHOW listen_addresses") == ""


async def test_a_newer_versions_settings_reach_an_older_cluster(
    server: EmbeddedPostgres, folder: Path
) -> None:
    server.stop()
    changed = EmbeddedPostgres(folder, settings={**SMALL, "max_connections": "77"})
    changed.start()
    assert await ask(changed, "SHOW max_connections") == "77"


async def test_the_server_outlives_a_killed_parent_and_is_adopted(folder: Path) -> None:
    parent = start_elsewhere(folder)
    await_started(parent)
    pid = pid_of(folder)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    adopted = EmbeddedPostgres(folder)
    assert adopted.is_running()
    adopted.start()
    assert pid_of(folder) == pid
    assert await ask(adopted, "SELECT 1") == 1


async def test_ctrl_c_does_not_reach_the_server(folder: Path) -> None:
    parent = start_elsewhere(folder)
    await_started(parent)
    os.killpg(parent.pid, signal.SIGINT)
    parent.wait()
    assert await ask(EmbeddedPostgres(folder), "SELECT 1") == 1


async def test_a_parent_killed_at_any_moment_of_the_first_start_does_no_harm(folder: Path) -> None:
    for moment_s in (0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.1):
        parent = start_elsewhere(folder)
        await asyncio.sleep(moment_s)
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    server = EmbeddedPostgres(folder, fsync=False)
    server.start()
    assert await ask(server, "SELECT 1") == 1


async def test_a_cluster_half_made_is_made_again(folder: Path) -> None:
    half = folder / "data.new-1234"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(folder, fsync=False)
    server.start()
    assert await ask(server, "SELECT 1") == 1
    assert not half.exists()


async def test_a_crashed_server_recovers_what_was_committed(folder: Path) -> None:
    server = EmbeddedPostgres(folder, settings=SMALL)
    server.start()
    await ask(server, "CREATE TABLE kept AS SELECT generate_series(1, 20000) AS number")
    crash(folder)
    server.start()
    assert await ask(server, "SELECT count(*) FROM kept") == 20_000


async def test_a_pid_file_that_names_another_process_of_the_same_account_is_stale(
    server: EmbeddedPostgres, folder: Path
) -> None:
    lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
    account = server_account()
    bystander = sleeper(None if account is None else account.uid)
    server.stop()
    pid_file = folder / "data" / "postmaster.pid"
    pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
    pid_file.chmod(0o600)
    if account is not None:
        os.chown(pid_file, account.uid, account.gid)
    try:
        assert not server.is_running()
        server.start()
        assert await ask(server, "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_several_processes_may_start_it_at_once(folder: Path) -> None:
    parents = [start_elsewhere(folder) for _ in range(3)]
    try:
        for parent in parents:
            await_started(parent)
        assert await ask(EmbeddedPostgres(folder), "SELECT 1") == 1
    finally:
        for parent in parents:
            parent.kill()
            parent.wait()


async def test_databases_are_created_once(server: EmbeddedPostgres) -> None:
    server.create_databases(["catalog", "bus"])
    server.create_databases(["catalog", "bus", "billing"])
    server.create_databases([])
    names = await ask(
        server, "SELECT array_agg(datname::text ORDER BY datname) FROM pg_database WHERE NOT datistemplate"
    )
    assert names == ["billing", "bus", "catalog", "postgres"]


@pytest.mark.parametrize("name", ["", "Bus", "b-us", "x'; DROP DATABASE bus", "1bus"])
def test_a_name_that_needs_quoting_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(EmbeddedPostgresFailed):
        EmbeddedPostgres(folder).create_databases([name])


async def test_a_long_path_with_spaces_gets_a_short_private_socket_folder(folder: Path) -> None:
    long = folder / ("a long path, 'quoted' " * 4).strip() / "postgres"
    server = EmbeddedPostgres(long, fsync=False, settings=SMALL)
    try:
        server.start()
        assert len(str(server.socket_folder / ".s.PGSQL.5432")) < 100
        assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
        assert await ask(server, "SELECT 1") == 1
    finally:
        server.stop()
        server.socket_folder.rmdir()


def test_a_socket_folder_that_somebody_else_laid_out_is_refused(folder: Path) -> None:
    long = folder / ("x" * 90)
    squatted = embedded._socket_folder(long.resolve())
    elsewhere = tempfile.mkdtemp()
    squatted.symlink_to(elsewhere)
    try:
        with pytest.raises(EmbeddedPostgresFailed, match="somebody else"):
            EmbeddedPostgres(long, fsync=False).start()
    finally:
        squatted.unlink()
        Path(elsewhere).rmdir()


def test_nobody_else_gets_in(server: EmbeddedPostgres, folder: Path) -> None:
    owner = os.geteuid() if (account := server_account()) is None else account.uid
    for private in (server.socket_folder, folder / "data", folder / "log"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert private.stat().st_uid == owner
    assert stat.S_IMODE((server.socket_folder / ".s.PGSQL.5432").stat().st_mode) == 0o700
    if os.geteuid() == 0:  # an ordinary user cannot become somebody else to try
        attempt = subprocess.run(
            [embedded._programs() / "psql", "-h", server.socket_folder, "-U", "postgres", "-c", "SELECT 1"],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert attempt.returncode != 0
        assert "Permission denied" in attempt.stderr


def test_data_of_another_major_version_is_refused(server: EmbeddedPostgres, folder: Path) -> None:
    server.stop()
    version = folder / "data" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(EmbeddedPostgresFailed, match="PostgreSQL 17"):
        server.start()
    version.write_text("18\n")


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = EmbeddedPostgres(folder, fsync=False, settings={"shared_buffers": "plenty"})
    with pytest.raises(EmbeddedPostgresFailed) as caught:
        server.start()
    assert "shared_buffers" in str(caught.value)

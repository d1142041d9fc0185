"""Usage is ingested directly by the one process, which is killed; its PostgreSQL stops, dies and loses connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from libs.common.persistence.embedded import EmbeddedPostgres
from libs.common.serving.addresses import BUS_DATABASE, database_name
from tests.journeys.kills.faults import Fault, lost, stands_still, trapped
from tests.journeys.kills.story import Record
from tests.journeys.kills.usage_story import Ground, Way, play, seeds_of
from tests.support.lossy_proxy import COMMIT, Instant, LossyProxy, lossy_socket
from tests.support.one_process import OneProcess, free_port, one_process
from tests.support.postgres import running_postgres

METERING = database_name("metering")
# How the statements begin with which the bus publishes and acknowledges; each is a transaction by itself.
PUBLISH, ACKNOWLEDGE = "WITH sent AS", "INSERT INTO bus_offset"
SENDERS = 3
LOSSES = 6
IN_CI, ALL = 3, 25


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """On a PostgreSQL of its own, behind a proxy that may lose what it says."""
    with ExitStack() as stack:
        server = stack.enter_context(running_postgres()).server
        proxy, dsn = stack.enter_context(lossy_socket(server.dsn()))
        proxy.watch(PUBLISH, ACKNOWLEDGE)
        process = stack.enter_context(
            one_process(
                tmp_path_factory.mktemp("usage-faults") / "log",
                port=free_port(),
                PERENNIAL_DATABASE_URL=dsn,
                PERENNIAL_BILLING_PAYMENT_CLAIM_S="4",
            )
        )
        process.start()
        ways = [Way(lambda: process.base_url, through_topic=False)] * SENDERS
        yield Ground(process, server.dsn, ways, faults_of(process, server, proxy))


def faults_of(process: OneProcess, server: EmbeddedPostgres, proxy: LossyProxy) -> list[Fault]:
    def killed(name: str, instant: Instant, database: str, statement: str = COMMIT) -> Fault:
        return trapped(
            name,
            lambda: proxy.lay(instant, process.kill, database=database, statement=statement),
            process.start,
        )

    def begin_losses() -> None:
        proxy.losses = LOSSES

    def begin_cuts() -> None:
        proxy.cuts = LOSSES

    return [
        killed("killed before a COMMIT of metering", "before", METERING),
        lost("answers to COMMIT are lost", begin_losses, lambda: not proxy.losses),
        stands_still("the database stands still", lambda: postmaster(server), for_s=1.5),
        killed("killed after a COMMIT of metering", "after", METERING),
        Fault("the database is killed", lambda: crash(server)),
        lost("connections are gone before COMMIT", begin_cuts, lambda: not proxy.cuts),
        killed("killed after it has published", "after", BUS_DATABASE, PUBLISH),
        Fault("the database is stopped and started", lambda: stop_and_start(server)),
        killed("killed before it acknowledges", "before", BUS_DATABASE, ACKNOWLEDGE),
        Fault("killed", process.restart),
        killed("killed before it publishes", "before", BUS_DATABASE, PUBLISH),
        killed("killed after it has acknowledged", "after", BUS_DATABASE, ACKNOWLEDGE),
        killed("killed before a COMMIT of billing", "before", database_name("billing")),
        killed("killed after a COMMIT of subscriptions", "after", database_name("subscriptions")),
    ]


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.folder / "data" / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])


def crash(server: EmbeddedPostgres) -> None:
    """All of its processes at once, as when its container is killed."""
    parent = psutil.Process(postmaster(server))
    for process in (parent, *parent.children(recursive=True)):
        process.kill()
    psutil.wait_procs([parent], timeout=10)
    server.start()


def stop_and_start(server: EmbeddedPostgres) -> None:
    server.stop()
    time.sleep(0.5)
    server.start()


def test_every_event_counts_once_whatever_breaks(ground: Ground, record_property: Record) -> None:
    record_property("figures", str(play(ground, seeds_of(IN_CI, first=0))))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_event_counts_once_in_many_rounds(ground: Ground, record_property: Record) -> None:
    record_property(
        "figures", str(play(ground, seeds_of(ALL, first=time.time_ns() // 10**9), audit_each=True))
    )

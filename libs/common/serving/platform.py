"""The parts that one process gives to its service, as its settings say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from libs.common.access.keys import KeyFile
from libs.common.access.tenancy import API_LOGIN, AUDIT, WORKER_LOGIN
from libs.common.clock import SystemClock
from libs.common.contracts import SERVICES
from libs.common.messaging.bus import Bus
from libs.common.runtime import Platform
from libs.common.serving.addresses import BUS_DATABASE, database_name, login_dsn
from libs.common.serving.settings import ProcessSettings


def bus_of(settings: ProcessSettings, *, login: str, client: str) -> Bus:
    """Kafka where an address is given, or else the embedded bus; connected when it is first used."""
    if settings.kafka_bootstrap:
        # Here, so that a process without Kafka needs neither the client nor the time to load it.
        from libs.common.messaging.kafka_bus import KafkaBus
        from libs.common.telemetry import KAFKA_SYSTEM, use_messaging_system

        use_messaging_system(KAFKA_SYSTEM)
        return KafkaBus(settings.kafka_bootstrap, client_id=client)
    from libs.common.messaging.embedded_bus import EmbeddedBus

    dsn = login_dsn(settings.database_url, BUS_DATABASE, login, settings.database_password)
    return EmbeddedBus(dsn, application_name=client)


def platform_of(service: str, settings: ProcessSettings, environ: Mapping[str, str], *, bus: Bus) -> Platform:
    """Raises: KeyFileUnusable."""
    key_id = KeyFile.load(settings.key_file).signing_key.kid

    def dsn(name: str, login: str) -> str:
        return login_dsn(settings.database_url, database_name(name), login, settings.database_password)

    return Platform(
        bus=bus,
        clock=SystemClock(),
        key_path=settings.key_file,
        cursor_key=cursor_key(key_id),
        environment=dict(environ),
        peers=dict.fromkeys(SERVICES, settings.peers_url),
        member=settings.member_of(service),
        api_dsn=lambda name: dsn(name, API_LOGIN),
        worker_dsn=lambda name: dsn(name, WORKER_LOGIN),
        audit_dsn=lambda name: dsn(name, AUDIT),
        pool_size=settings.pool_size,
    )


def cursor_key(key_id: str) -> bytes:
    """The same in all processes that share a key file: a page's cursor may be shown to another replica."""
    return hashlib.blake2b(key_id.encode(), digest_size=32).digest()

"""What can be set about a process that runs one service's app, or its workers."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from libs.common.settings import Settings, secret, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings(Settings):
    """`database_url` names the server; a service may have another one: PERENNIAL_CATALOG_DATABASE_URL.

    The process logs in with `database_password` under names of its own, whatever name the address has.
    `kafka_bootstrap` empty: the embedded bus, on the server of `database_url`. `peers_url` is the one origin under
    which the services find each other. `member` names the process within its consumer groups, the same after a
    restart; empty: from the service and the host's name. `trusted_proxies` may say for whom they ask: addresses,
    separated by commas, or *.
    """

    PREFIX: ClassVar[str] = "PERENNIAL_"

    database_url: str = setting()
    database_password: str = secret()
    key_file: Path = setting()
    peers_url: str = setting()
    kafka_bootstrap: str = setting("")
    member: str = setting("")
    host: str = setting("127.0.0.1")
    port: int = setting(8000, minimum=0, maximum=65535)
    trusted_proxies: str = setting("127.0.0.1")
    pool_size: int = setting(4, minimum=1, maximum=100)
    stop_grace_s: float = setting(20.0, minimum=0, maximum=600)
    log_level: str = setting("INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    record_sql_spans: bool = setting(True)

    @classmethod
    def of_service(cls, service: str, environ: Mapping[str, str]) -> Self:
        """Raises: InvalidSettings."""
        return cls.from_environment(with_own_server(service, environ))

    def member_of(self, service: str) -> str:
        return self.member or f"{service}-{socket.gethostname()}"


def with_own_server(service: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment in which the database's address is this service's."""
    own = environ.get(f"{ProcessSettings.PREFIX}{service.upper()}_DATABASE_URL", "").strip()
    return {**environ, ProcessSettings.variable("database_url"): own} if own else environ

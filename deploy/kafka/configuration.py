"""What the broker is told: a single node that is broker and controller at once, with logs that say little."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

READY = "Kafka is ready at"
_RECORDS_BYTES_MAX = 8 * 1024 * 1024
_REQUEST_BYTES_MAX = 200 * 1024 * 1024
_SEGMENT_BYTES = 64 * 1024 * 1024
_INDEX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where the broker listens, where clients find it, and where it talks to itself."""

    host: str
    port: int
    controller_port: int
    advertised_host: str = ""

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"{self.advertised_host or self.host}:{self.port}"


def server_properties(folder: Path, listeners: Listeners) -> str:
    """Kafka's own names, in Kafka's own form."""
    controller = f"127.0.0.1:{listeners.controller_port}"
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"CLIENTS://{listeners.host}:{listeners.port},CONTROLLER://{controller}",
        "advertised.listeners": f"CLIENTS://{listeners.bootstrap}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENTS",
        "log.dirs": folder / "data",
        # One node: there is nobody to replicate to.
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        # Topics are made from the one table in code, never by a misspelt name.
        "auto.create.topics.enable": "false",
        "message.max.bytes": _RECORDS_BYTES_MAX,
        "socket.request.max.bytes": _REQUEST_BYTES_MAX,
        # A worker that starts alone gets its partitions at once, and a lost one is missed after its own time.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,
        # Committed offsets outlive a service that stands still for a while.
        "offsets.retention.minutes": 30 * 24 * 60,
        # Many small topics on one disk: index files are allocated whole.
        "log.segment.bytes": _SEGMENT_BYTES,
        "log.index.size.max.bytes": _INDEX_BYTES,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "controlled.shutdown.max.retries": 1,
        # A killed node may come back only when it has been missed; by default that takes 9 s.
        "broker.session.timeout.ms": 2_000,
        "broker.heartbeat.interval.ms": 500,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def log4j_configuration(listeners: Listeners) -> str:
    """Warnings, and one line when it is ready."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN" shutdownHook="disable">
  <Appenders>
    <Console name="words" target="SYSTEM_OUT">
      <PatternLayout pattern="%d{{ISO8601}} %p %c{{1}}: %m%n"/>
    </Console>
    <Console name="ready" target="SYSTEM_OUT">
      <RegexFilter regex=".*Kafka Server started.*" onMatch="ACCEPT" onMismatch="DENY"/>
      <PatternLayout pattern="{READY} {listeners.bootstrap}%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="words"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO" additivity="false">
      <AppenderRef ref="ready"/>
      <AppenderRef ref="words" level="WARN"/>
    </Logger>
  </Loggers>
</Configuration>
"""

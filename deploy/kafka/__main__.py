"""`python -m deploy.kafka`: one broker in the foreground, until Ctrl-C or SIGTERM.

In the end this process is the broker: whoever stops or kills it stops or kills Kafka itself.
"""

from __future__ import annotations

import os
import sys

from deploy.kafka.broker import KafkaBroker
from deploy.kafka.programs import KafkaFailed
from deploy.kafka.settings import KafkaSettings
from libs.common.settings import InvalidSettings


def prepare() -> KafkaBroker:
    """Raises: InvalidSettings."""
    settings = KafkaSettings.from_environment(os.environ)
    return KafkaBroker(
        settings.folder,
        host=settings.host,
        port=settings.port,
        controller_port=settings.controller_port,
        advertised_host=settings.advertised_host,
        jars_folder=settings.jars_folder,
        heap_mb=settings.heap_mb,
    )


def main() -> None:
    try:
        broker = prepare()
        command = broker.command()
    except (InvalidSettings, KafkaFailed) as error:
        sys.exit(f"{error}\n{error.remedy or ''}".strip())
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"Kafka starts in {broker.folder}", flush=True)
    os.chdir(broker.folder)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()

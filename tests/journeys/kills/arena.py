"""A fleet made to be struck: workers in pairs, and proxies that can lose a message, and kill at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.kafka.programs import missing_program
from tests.support.fleet import PROCESSES, Fleet, fleet
from tests.support.kafka_proxy import KafkaProxy, kafka_proxy
from tests.support.lossy_proxy import LossyProxy, lossy_port

# Those that have a scheduler run twice.
SECONDS = ("subscriptions", "metering", "billing")
# Who loses answers to COMMIT, and what share of them.
LOSSES = {"metering-api": 0.05, "subscriptions-worker": 0.04, "metering-worker": 0.04, "billing-worker": 0.04}
KAFKA_HOST = "127.0.0.2"  # this machine as well: where the proxy listens, at the broker's port


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL, and a new start under the same name."""

    fleet: Fleet
    name: str

    def strike(self) -> None:
        self.fleet.restart(self.name)


@dataclass(frozen=True, slots=True)
class Arena:
    """`proxies` are those of PostgreSQL, by the process behind each."""

    fleet: Fleet
    proxies: Mapping[str, LossyProxy]
    kafka: KafkaProxy

    @contextmanager
    def losing(self) -> Iterator[None]:
        """Answers to COMMIT get lost while the block runs. When faults stop, everything gets done."""
        for name, proxy in self.proxies.items():
            proxy.rate = LOSSES[name]
        try:
            yield
        finally:
            for proxy in self.proxies.values():
                proxy.rate = 0

    def kill(self, name: str) -> Kill:
        return Kill(self.fleet, name)

    @property
    def lost_count(self) -> int:
        return sum(proxy.lost for proxy in self.proxies.values())

    def tell_losses(self) -> str:
        told = ", ".join(f"{proxy.lost} of {name}" for name, proxy in self.proxies.items())
        return f"answers to COMMIT that were lost: {told}"


@contextmanager
def running_arena(logs: Path, **environment: str) -> Iterator[Arena]:
    """`environment` is added to that of all its processes."""
    if missing := missing_program():
        pytest.skip(f"there is no Kafka: {missing}")
    with ExitStack() as stack:
        proxies: dict[str, LossyProxy] = {}
        kafkas: list[KafkaProxy] = []

        def prepare(found: Fleet) -> None:
            port = int(found.address("kafka").rsplit(":", 1)[1])
            kafkas.append(stack.enter_context(kafka_proxy(KAFKA_HOST, port)))
            found.surround("kafka", PERENNIAL_KAFKA_ADVERTISED_HOST=KAFKA_HOST)
            seconds = [f"{service}-worker-2" for service in SECONDS]
            for name in seconds:
                found.replicate(name, like=name.removesuffix("-2"))
            through = {"PERENNIAL_KAFKA_BOOTSTRAP": f"{KAFKA_HOST}:{port}"}
            for seed, name in enumerate((*PROCESSES, *seconds)):
                own = dict(through)
                if name in LOSSES:
                    opened = lossy_port(found.address("postgres"), seed=seed)
                    proxies[name], address = stack.enter_context(opened)
                    own["PERENNIAL_DATABASE_URL"] = f"postgresql://{address}"
                found.surround(name, **own)

        with fleet(logs, prepare=prepare, PERENNIAL_BILLING_PAYMENT_CLAIM_S="4", **environment) as found:
            yield Arena(found, proxies, kafkas[0])

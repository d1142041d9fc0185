"""The events that services publish, and the one table that names them all."""

from __future__ import annotations

from libs.common.contracts import billing, catalog, metering, subscriptions
from libs.common.contracts.envelope import Envelope, Event

SERVICES = ("catalog", "subscriptions", "metering", "billing")


def _events() -> dict[str, type[Event]]:
    modules = (catalog, subscriptions, metering, billing)
    classes = (thing for module in modules for thing in vars(module).values() if isinstance(thing, type))
    return {c.TYPE: c for c in classes if issubclass(c, Event) and c.TYPE}


EVENTS: dict[str, type[Event]] = _events()


def topic_of(service: str) -> str:
    """The topic on which a service publishes all its events."""
    return f"perennial.{service}.v1"


def group_of(service: str) -> str:
    """The consumer group of a service."""
    return f"perennial.{service}"


# Whose topics each service reads. Data goes forward; what flows back is reference data (tenants, clocks, meters) and
# usage balances, which inform entitlements and decide no money.
HEARS: dict[str, tuple[str, ...]] = {
    "catalog": ("catalog", "subscriptions", "metering"),
    "subscriptions": ("catalog", "subscriptions", "metering", "billing"),
    "metering": ("catalog", "subscriptions"),
    "billing": ("catalog", "subscriptions", "metering"),
}

__all__ = ["EVENTS", "HEARS", "SERVICES", "Envelope", "Event", "group_of", "topic_of"]

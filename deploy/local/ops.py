"""The operators' pages of the one process: its latest traces, without anything more to install."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount

from libs.common.runtime import Service
from libs.common.telemetry import TraceRing
from libs.common.web.ops_traces import OPS, operator_only, ops_app


def ops_routes(ring: TraceRing, service: Service) -> list[BaseRoute]:
    """Under /ops, for bearers of an operator's token that `service` does not know to be revoked."""
    return [Mount(OPS, ops_app(ring, operator_only(service.verify)))]

"""Tracing for the length of one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libs.common.telemetry import TraceRing, Tracing, setup_tracing

_OTEL = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_SAMPLER")


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracing]:
    """Recording, to the ring only."""
    for variable in _OTEL:
        monkeypatch.delenv(variable, raising=False)
    tracing = setup_tracing()
    yield tracing
    tracing.shutdown()


@pytest.fixture
def ring(tracing: Tracing) -> TraceRing:
    return tracing.ring

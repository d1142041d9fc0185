"""Log lines as machines and people see them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from libs.common.telemetry import TraceRing, current_trace_id, service_scope, setup_logging, span
from libs.common.telemetry.logs import JsonLines

log = logging.getLogger("services.billing.collect")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    setup_logging("info", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_where_what_and_in_which_trace(stream: io.StringIO, ring: TraceRing) -> None:
    with service_scope("billing"), span("collect"):
        trace_id = current_trace_id()
        log.warning("attempt %s declined", "pay_1", extra={"amount_minor": 1250, "codes": ["51"]})

    (line,) = lines_of(stream)
    assert line.pop("ts").endswith("Z")
    assert len(line.pop("span_id")) == 16
    assert line == {
        "level": "warning",
        "logger": "services.billing.collect",
        "message": "attempt pay_1 declined",
        "service": "billing",
        "trace_id": trace_id,
        "amount_minor": 1250,
        "codes": ["51"],
    }


def test_outside_of_service_and_trace_nothing_is_claimed(stream: io.StringIO) -> None:
    log.info("starting")

    (line,) = lines_of(stream)
    assert set(line) == {"ts", "level", "logger", "message"}


def test_an_error_is_one_line_with_its_stack(stream: io.StringIO) -> None:
    try:
        raise RuntimeError("refused Bearer abcdefghijklmnop\nsecond line")
    except RuntimeError:
        log.exception("gateway failed")

    (line,) = lines_of(stream)
    assert line["error"].startswith("Traceback")
    assert "Bearer [redacted]" in line["error"]
    assert "abcdefghijklmnop" not in stream.getvalue()


def test_secrets_never_reach_the_log(stream: io.StringIO) -> None:
    secret = "abcdefghijklmnop"
    log.info("sent %s", {"Authorization": f"Bearer {secret}"})
    log.info("hook whsec_%s", secret)
    log.info(
        "with facts", extra={"authorization": secret, "headers": {"cookie": secret}, "key": f"whsec_{secret}"}
    )

    assert secret not in stream.getvalue()
    assert len(lines_of(stream)) == 3


def test_given_names_do_not_overwrite_ours(stream: io.StringIO) -> None:
    log.info("moved", extra={"service": "catalog", "level": 3})

    (line,) = lines_of(stream)
    assert (line["level"], line["service_"], line["level_"]) == ("info", "catalog", 3)


def test_a_line_that_does_not_fit_its_arguments_is_shown_all_the_same() -> None:
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "%d things", ("many",), None)

    assert json.loads(JsonLines().format(record))["message"] == "%d things ('many',)"


def test_values_json_does_not_know_are_written_as_text(stream: io.StringIO) -> None:
    log.info("odd", extra={"thing": object(), "set": {1}, "deep": {"a": {"b": {"c": {"d": 1}}}}})

    (line,) = lines_of(stream)
    assert line["thing"].startswith("<object")
    assert line["set"] == [1]


def test_people_get_plain_lines(ring: TraceRing) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        setup_logging("info", json_lines=False, stream=stream)
        with service_scope("billing"), span("x"):
            log.warning("declined, Bearer abcdefghijklmnop", extra={"attempt": "pay_1"})
            trace_id = current_trace_id()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    line = stream.getvalue()
    assert "WARNING billing" in line
    assert "declined, Bearer [redacted]" in line
    assert f"attempt=pay_1 trace={trace_id}" in line
    assert "\033" not in line, "colors are for terminals"


def test_setting_up_again_replaces(stream: io.StringIO) -> None:
    again = io.StringIO()
    setup_logging("warning", stream=again)
    log.info("unheard")
    log.warning("heard once")

    assert stream.getvalue() == ""
    assert len(lines_of(again)) == 1

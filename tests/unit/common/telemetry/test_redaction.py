"""Secrets are taken out, and nothing else is."""

from __future__ import annotations

import pytest

from libs.common.telemetry.redaction import REDACTED, redact, redact_field

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ0b2tfMSJ9.c2lnbmF0dXJl-_x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdefghij", "Authorization: [redacted]"),
        (
            "headers {'authorization': 'Bearer abcdefghij', 'x': '1'}",
            "headers {'authorization': '[redacted]', 'x': '1'}",
        ),
        ("(b'authorization', b'Bearer abcdefghij')", "(b'authorization', b'Bearer [redacted]')"),
        (f"token {JWT} refused", "token eyJ[redacted] refused"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw is old", "whsec_[redacted] is old"),
        ("postgresql://app:s3cr3t@db:5432/x", "postgresql://app:[redacted]@db:5432/x"),
        ("?cursor=abc&token=abc&page=2", "?cursor=abc&token=[redacted]&page=2"),
        ("CREATE ROLE app LOGIN PASSWORD 'hunter2'", "CREATE ROLE app LOGIN PASSWORD '[redacted]'"),
        (
            "[SQL: INSERT]\n[parameters: ('Ada [1]', 'ada@example.org')]\n(Background on this error at: x)",
            "[SQL: INSERT]\n[parameters: [redacted]]\n(Background on this error at: x)",
        ),
        ("cookie: perennial_ops=abc", "cookie: [redacted]"),
        (
            "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----[redacted]-----END PRIVATE KEY-----",
        ),
    ],
)
def test_secrets_are_taken_out(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "subscription sub_01jz3v6m1qk0c8n4r2d5s7t9wx renewed",
        "GET https://api.example.org:8080/v1/plans?status=open",
        "2025-02-28T00:00:00Z tenant=0197f3a2-4b1c-7d20-9c55-2b8a7c1e0d11",
        "the bearer is unknown",
        "basic plan, secretly cheap",
        "SELECT tenant, id FROM token WHERE id = $1",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_redacting_twice_changes_nothing_more() -> None:
    once = redact(f"Authorization: Bearer {JWT}, password=x, whsec_abc, https://a:b@c/")

    assert redact(once) == once


def test_fields_are_redacted_by_name_and_at_depth() -> None:
    value = {"user": {"api_key": "k", "notes": [f"Bearer {JWT}", 1, None]}, "deep": {"a": {"b": {"c": {}}}}}

    assert redact_field("body", value) == {
        "user": {"api_key": REDACTED, "notes": [f"Bearer {REDACTED}", 1, None]},
        "deep": {"a": {"b": {"c": "…"}}},
    }
    assert redact_field("Authorization", "anything") == REDACTED
    assert redact_field("refresh_token", 5) == REDACTED
    assert redact_field("tokens_count", 5) == 5

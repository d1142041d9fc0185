"""Verifiers of passwords, in PostgreSQL's own form."""

from __future__ import annotations

import re

import pytest

from libs.common.persistence.scram import scram_verifier


def test_the_form_is_postgresqls() -> None:
    verifier = scram_verifier("correct horse")
    assert re.fullmatch(r"SCRAM-SHA-256\$4096:[\w+/=]{24}\$[\w+/=]{44}:[\w+/=]{44}", verifier)
    assert "correct" not in verifier


def test_each_has_a_salt_of_its_own() -> None:
    assert scram_verifier("correct horse") != scram_verifier("correct horse")


@pytest.mark.parametrize("password", ["", "pässword", "two\nlines", "tab\t"])
def test_what_would_have_to_be_normalised_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        scram_verifier(password)

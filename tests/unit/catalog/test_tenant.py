"""Tenants and revoked tokens."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from libs.common.access.token import LIFETIME_MAX
from services.catalog.domain.tenant import Tenant, rename
from services.catalog.domain.token_revocation import TOKEN_LIFETIME_MAX, revoke
from tests.support.catalog import NOW

TENANT = Tenant(id="t", name="Cloudhop", mode="sandbox", version=1, created_at=NOW, changed_at=NOW)
LATER = NOW + timedelta(days=1)


def test_renaming_counts_a_version_and_keeps_the_mode() -> None:
    renamed = rename(TENANT, "Cloudhop Engines", LATER)
    assert (renamed.name, renamed.mode, renamed.version) == ("Cloudhop Engines", "sandbox", 2)
    assert (renamed.created_at, renamed.changed_at) == (NOW, LATER)


def test_the_same_name_changes_nothing() -> None:
    assert rename(TENANT, "Cloudhop", LATER) is TENANT


@pytest.mark.parametrize(
    ("expires_at", "kept_until"),
    [
        (None, NOW + TOKEN_LIFETIME_MAX),
        (NOW + timedelta(hours=1), NOW + timedelta(hours=1)),
        (NOW + TOKEN_LIFETIME_MAX, NOW + TOKEN_LIFETIME_MAX),
        (NOW + timedelta(days=9999), NOW + TOKEN_LIFETIME_MAX),
    ],
    ids=["unknown", "known", "on_the_edge", "too_far_off"],
)
def test_a_revocation_lasts_as_long_as_its_token_may(
    expires_at: datetime | None, kept_until: datetime
) -> None:
    assert revoke("tok_1", expires_at=expires_at, now=NOW).expires_at == kept_until


def test_no_token_lives_longer_than_a_revocation() -> None:
    assert TOKEN_LIFETIME_MAX >= LIFETIME_MAX

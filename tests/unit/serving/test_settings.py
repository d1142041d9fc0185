"""The settings of a separate process: its service's own server, its name, and nothing by default that is secret."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import make_url

from libs.common.serving.addresses import database_name, login_dsn
from libs.common.serving.settings import ProcessSettings
from libs.common.settings import InvalidSettings

NEEDED = {
    "PERENNIAL_DATABASE_URL": "postgresql://postgres:5432",
    "PERENNIAL_DATABASE_PASSWORD": "correct-horse",
    "PERENNIAL_KEY_FILE": "/secrets/keys.json",
    "PERENNIAL_PEERS_URL": "http://gateway:8000",
}


def test_all_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        ProcessSettings.of_service("catalog", {})
    assert set(caught.value.problems) == set(NEEDED)


def test_a_service_may_have_a_server_of_its_own() -> None:
    environ = NEEDED | {"PERENNIAL_BILLING_DATABASE_URL": "postgresql://ledger:5433"}
    assert ProcessSettings.of_service("billing", environ).database_url == "postgresql://ledger:5433"
    assert ProcessSettings.of_service("catalog", environ).database_url == "postgresql://postgres:5432"


def test_a_process_is_named_after_its_service_and_host() -> None:
    settings = ProcessSettings.of_service("billing", NEEDED)
    assert settings.member_of("billing").startswith("billing-")
    named = ProcessSettings.of_service("billing", NEEDED | {"PERENNIAL_MEMBER": "billing-7"})
    assert named.member_of("billing") == "billing-7"


def test_the_password_is_shown_nowhere() -> None:
    assert "correct-horse" not in repr(ProcessSettings.of_service("billing", NEEDED))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_a_login_takes_the_place_of_whoever_the_address_names(scheme: str) -> None:
    given = f"{scheme}://root:hidden@db.example:5432/postgres?sslmode=verify-full&sslrootcert=/ca.pem"
    url = make_url(login_dsn(given, database_name("billing"), "perennial_api", "p@ss/word"))
    assert (url.drivername, url.host, url.port) == ("postgresql+asyncpg", "db.example", 5432)
    assert (url.username, url.password, url.database) == ("perennial_api", "p@ss/word", "perennial_billing")
    assert dict(url.query) == {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}

"""`python -m deploy.secrets`: made once, readable by those who need them, the same for two at once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.secrets import make_secrets
from libs.common.access.keys import KeyFile
from libs.common.persistence.scram import scram_verifier

FILES = ("processes/keys.json", "processes/database-password", "admin/database-password")


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def test_they_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert len(make_secrets(folder)) == 3
    first = contents(folder)
    assert make_secrets(folder) == []
    assert contents(folder) == first
    (folder / FILES[1]).unlink()
    assert make_secrets(folder) == ["the database password of the processes"]
    assert contents(folder)[1] != first[1]
    assert contents(folder)[0] == first[0]


def test_each_is_for_its_holder(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("", *FILES)}
    assert modes == {"": 0o700, FILES[0]: 0o600, FILES[1]: 0o600, FILES[2]: 0o644}
    assert KeyFile.load(folder / FILES[0]).signing_key
    assert not list(folder.rglob(".*")), "nothing half-made is left"


def test_two_at_once_end_with_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as several:
        list(several.map(make_secrets, [tmp_path / "secrets"] * 4))
    first = contents(tmp_path / "secrets")
    make_secrets(tmp_path / "secrets")
    assert contents(tmp_path / "secrets") == first


def test_passwords_are_long_and_can_be_given_to_the_database(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    own, admin = ((tmp_path / name).read_text(encoding="ascii").strip() for name in FILES[1:])
    assert own != admin
    assert min(len(own), len(admin)) >= 40
    assert scram_verifier(own).startswith("SCRAM-SHA-256$4096:")

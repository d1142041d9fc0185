"""The key file: its mode, its content, rotation."""

import json
from pathlib import Path

import pytest

from libs.common.access.keys import KeyFile, KeyFileUnusable, SigningKey


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "signing.json"


def test_a_created_file_is_for_its_owner_only_and_loads_again(path: Path) -> None:
    created = KeyFile.create(path)
    loaded = KeyFile.load(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [key.kid for key in loaded.keys] == [created.signing_key.kid]


def test_nothing_is_left_beside_the_file(path: Path) -> None:
    KeyFile.create(path).rotate()
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_creating_never_overwrites(path: Path) -> None:
    KeyFile.create(path)
    with pytest.raises(KeyFileUnusable):
        KeyFile.create(path)


def test_load_or_create_gives_the_same_keys_twice(path: Path) -> None:
    assert KeyFile.load_or_create(path).signing_key.kid == KeyFile.load_or_create(path).signing_key.kid


def test_rotation_signs_with_a_new_key_and_keeps_only_the_previous_one(path: Path) -> None:
    first = KeyFile.create(path)
    second = first.rotate()
    third = second.rotate()
    assert [key.kid for key in second.keys] == [second.signing_key.kid, first.signing_key.kid]
    assert [key.kid for key in third.keys] == [third.signing_key.kid, second.signing_key.kid]
    assert [key.kid for key in KeyFile.load(path).keys] == [key.kid for key in third.keys]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    KeyFile.create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileUnusable, match="others"):
        KeyFile.load(path)


def test_what_is_shown_of_keys_holds_no_private_half(path: Path) -> None:
    key_file = KeyFile.create(path)
    private = json.loads(path.read_text())["keys"][0]["d"]
    assert private not in json.dumps(key_file.public_jwks())
    assert private not in repr(key_file)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"keys": []}',
        '{"keys": [{}]}',
        '{"keys": ["x"]}',
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA"}]}',
        '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": 1, "d": 2}]}',
    ],
)
def test_a_malformed_file_is_refused_without_quoting_it(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileUnusable) as caught:
        KeyFile.load(path)
    assert caught.value.__cause__ is None
    assert "c2VjcmV0" not in str(caught.value)


def test_halves_of_two_keys_are_refused(path: Path) -> None:
    one, other = SigningKey.generate(), SigningKey.generate()
    mixed = {**one._private_jwk(), "x": other.public_jwk()["x"]}
    with pytest.raises(ValueError, match="another key"):
        SigningKey.from_jwk(mixed)


def test_a_missing_file_says_so(path: Path) -> None:
    with pytest.raises(KeyFileUnusable, match="cannot be read"):
        KeyFile.load(path)

"""The deployment's own signing keys: a file of Ed25519 JWKs, of which the first signs and all verify.

Rotation puts a new key first and keeps the one before it, so that tokens signed yesterday are good until they
expire. Whoever can read the file can make any token: it is refused when others than its owner may.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from libs.common.errors import ServiceError

KEYS_MAX = 2
_FILE_BYTES_MAX = 64 * 1024


class KeyFileUnusable(ServiceError):
    """The key file is missing, malformed, or open to others than its owner."""

    code: ClassVar[str] = "key_file_unusable"
    title: ClassVar[str] = "The key file cannot be used"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One private key. `kid` is the RFC 7638 thumbprint of its public half: it names this key only."""

    kid: str
    private_key: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def _of(cls, private_key: Ed25519PrivateKey) -> SigningKey:
        x = _base64url(private_key.public_key().public_bytes_raw())
        thumbed = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":")).encode()
        return cls(kid=_base64url(hashlib.sha256(thumbed).digest()), private_key=private_key)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> SigningKey:
        """Raises: ValueError when this is no Ed25519 private key, or its halves do not belong together."""
        if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
            raise ValueError("only Ed25519 keys are kept here")
        private_key = Ed25519PrivateKey.from_private_bytes(_from_base64url(jwk.get("d")))
        if private_key.public_key().public_bytes_raw() != _from_base64url(jwk.get("x")):
            raise ValueError("the public half belongs to another key")
        key = cls._of(private_key)
        kid = jwk.get("kid", key.kid)
        if not isinstance(kid, str) or not kid:
            raise ValueError("kid must be text")
        return cls(kid=kid, private_key=private_key)

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self.private_key.public_key()

    def public_jwk(self) -> dict[str, str]:
        x = _base64url(self.public_key.public_bytes_raw())
        return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x}

    def _private_jwk(self) -> dict[str, str]:
        return {**self.public_jwk(), "d": _base64url(self.private_key.private_bytes_raw())}

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The keys as they stood when the file was read."""

    path: Path
    keys: tuple[SigningKey, ...]

    @property
    def signing_key(self) -> SigningKey:
        return self.keys[0]

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """What may be shown to anybody who wants to verify."""
        return {"keys": [key.public_jwk() for key in self.keys]}

    @classmethod
    def load(cls, path: Path) -> KeyFile:
        """Raises: KeyFileUnusable."""
        try:
            with path.open("rb") as opened:
                mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
                content = opened.read(_FILE_BYTES_MAX + 1)
        except OSError as error:
            raise KeyFileUnusable(
                f"the key file cannot be read: {error.strerror}",
                path=str(path),
                remedy="Make one first, or correct the setting that names it.",
            ) from error
        if mode & 0o077:
            raise KeyFileUnusable(
                f"the key file may be read by others than its owner (mode {mode:04o})",
                path=str(path),
                remedy="Set its mode to 0600.",
            )
        return cls(path=path, keys=_parse(content, path))

    @classmethod
    def create(cls, path: Path) -> KeyFile:
        """A new file with one new key. Raises: KeyFileUnusable when there is a file already."""
        made = cls(path=path, keys=(SigningKey.generate(),))
        temporary = _write_beside(path, made.keys)
        try:
            os.link(temporary, path)  # unlike rename, it fails when somebody else was quicker
        except FileExistsError as error:
            raise KeyFileUnusable("there is a key file already", path=str(path)) from error
        finally:
            os.unlink(temporary)
        _sync_folder(path.parent)
        return made

    @classmethod
    def load_or_create(cls, path: Path) -> KeyFile:
        """Two processes that start at once end with the same keys."""
        if not path.exists():
            with contextlib.suppress(KeyFileUnusable):
                return cls.create(path)
        return cls.load(path)

    def rotate(self) -> KeyFile:
        """A new key signs from now on; the previous one still verifies, the one before it no longer."""
        rotated = KeyFile(path=self.path, keys=(SigningKey.generate(), *self.keys)[:KEYS_MAX])
        os.replace(_write_beside(self.path, rotated.keys), self.path)
        _sync_folder(self.path.parent)
        return rotated


def _parse(content: bytes, path: Path) -> tuple[SigningKey, ...]:
    try:
        keys = tuple(SigningKey.from_jwk(jwk) for jwk in json.loads(content)["keys"])
        if len(content) > _FILE_BYTES_MAX or not keys or len({key.kid for key in keys}) < len(keys):
            raise ValueError("there must be at least one key, each with a kid of its own")
    except (ValueError, KeyError, TypeError, AttributeError):
        # The cause is left out, since it may quote a private key.
        raise KeyFileUnusable("the key file holds no usable Ed25519 private keys", path=str(path)) from None
    return keys


def _write_beside(path: Path, keys: Iterable[SigningKey]) -> str:
    """A finished temporary file (mode 0600) in the same folder: readers see the old keys or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump({"keys": [key._private_jwk() for key in keys]}, opened, indent=2)
        opened.write("\n")
        opened.flush()
        os.fsync(opened.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _from_base64url(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError("must be base64url text")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("must be base64url text") from error

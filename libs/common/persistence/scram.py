"""A login's password in the form that PostgreSQL keeps: whoever sees it cannot log in with it (RFC 5803)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096  # PostgreSQL's own number; the password is a long random one, which is what protects it
_SALT_BYTES = 16


def scram_verifier(password: str) -> str:
    """For `ALTER ROLE … PASSWORD`. A new salt each time.

    Raises: ValueError for other than printable ASCII, which would have to be normalised first (SASLprep).
    """
    if not password or not password.isascii() or not password.isprintable():
        raise ValueError("a login's password must be printable ASCII")
    salt = secrets.token_bytes(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server_key = _hmac(salted, b"Server Key")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")

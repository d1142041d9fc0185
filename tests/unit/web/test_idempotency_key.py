"""The header Idempotency-Key, and what makes a request the same."""

import pytest

from libs.common.web.idempotency import IdempotencyKeyInvalid, fingerprint_of, read_key


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (" a ", "a"),
        ('"a b"', "a b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("x" * 255, "x" * 255),
    ],
)
def test_keys_that_are_read(given: str, key: str) -> None:
    assert read_key(given) == key


@pytest.mark.parametrize(
    "given", ["", " ", '""', '"', '"a', 'a"', "a b", "ä", '"ä"', '"a";x=1', r'"\n"', "x" * 256]
)
def test_keys_that_are_refused(given: str) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        read_key(given)


def test_spelling_does_not_make_another_request() -> None:
    one = fingerprint_of("/v1/x", body=b'{"a": 1, "b": [1, 2]}')
    assert fingerprint_of("/v1/x", body=b'{"b":[1,2],"a":1}') == one


def test_content_place_and_order_do() -> None:
    prints = {
        fingerprint_of("/v1/x", body=b'{"a":1}'),
        fingerprint_of("/v1/x", body=b'{"a":2}'),
        fingerprint_of("/v1/y", body=b'{"a":1}'),
        fingerprint_of("/v1", "/x", body=b'{"a":1}'),
        fingerprint_of("/v1/x", body=b'{"a":[1,2]}'),
        fingerprint_of("/v1/x", body=b'{"a":[2,1]}'),
        fingerprint_of("/v1/x", body=b""),
        fingerprint_of("/v1/x", body=b"not json"),
    }
    assert len(prints) == 8

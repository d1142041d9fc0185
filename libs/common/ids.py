"""Ids: new ones in order of time, others derived from natural keys, so that making a thing twice makes one.

An id is a prefix that names the kind, an underscore, and 128 bits in 26 letters of lower-case Crockford
base32. Its alphabet is in ASCII order, so ids of one prefix sort by the millisecond in which they were made.
"""

import hashlib
import secrets
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.common.clock import SystemClock

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
BODY_LENGTH = 26
NAMESPACE = UUID("6f1c8b0a-5d53-5c6e-9a57-70657265006e")  # never changes: derived ids rest on it

_NAMESPACE = NAMESPACE.bytes
_NOT_SET_BY_UUID5 = (1 << 128) - 1 & ~(0xF << 76 | 0b11 << 62)
_SET_BY_UUID5 = 5 << 76 | 0b10 << 62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SYSTEM_CLOCK = SystemClock()
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
_SHIFTS = range(5 * (BODY_LENGTH - 2), -1, -10)


class _Entropy:
    """The system's random bytes, fetched many at a time: a system call for each id costs more than all else of it."""

    WORD_BYTES, FETCHED_WORDS = 16, 256

    def __init__(self) -> None:
        self._words: list[bytes] = []
        self._fetched_by = 0

    def word(self) -> bytes:
        """Sixteen bytes that nobody else is given, in whatever thread."""
        # A process that was forked has another thread's number, and must not go on with the same bytes.
        asks = threading.get_native_id()
        if asks == self._fetched_by:
            try:
                return self._words.pop()
            except IndexError:
                pass
        fetched = secrets.token_bytes(self.WORD_BYTES * self.FETCHED_WORDS)
        starts = range(self.WORD_BYTES, len(fetched), self.WORD_BYTES)
        self._words, self._fetched_by = [fetched[start : start + self.WORD_BYTES] for start in starts], asks
        return fetched[: self.WORD_BYTES]

    def bits(self, count: int) -> int:
        """At most 128."""
        return int.from_bytes(self.word(), "big") & (1 << count) - 1


_entropy = _Entropy()


def random_hex() -> str:
    """32 digits, for what must differ from all others of its kind, as ids of requests; not for secrets."""
    return _entropy.word().hex()


def new_id(prefix: str, at: datetime | None = None) -> str:
    """A new id that sorts by `at`, or by the system's now: 48 bits of milliseconds, 80 random ones."""
    return f"{prefix}_{_base32(_milliseconds(at) << 80 | _entropy.bits(80))}"


def derived_id(prefix: str, *parts: str) -> str:
    """The id for these natural keys: the same parts, in the same order, always give the same id.

    The parts are joined with their lengths, so that ("ab", "c") and ("a", "bc") are different things. The number
    is that of a UUID of version 5 (RFC 9562), computed here since it is asked for a dozen times a renewal.
    """
    name = "".join(f"{len(part)}:{part}" for part in (prefix, *parts))
    digest = hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest()
    number = int.from_bytes(digest[:16], "big")
    return f"{prefix}_{_base32(number & _NOT_SET_BY_UUID5 | _SET_BY_UUID5)}"


def new_uuid7(at: datetime | None = None) -> UUID:
    """A new UUID of version 7 (RFC 9562), where a column asks for a UUID and order by time is wanted."""
    random = _entropy.bits(74)
    high, low = random >> 62, random & (1 << 62) - 1
    return UUID(int=_milliseconds(at) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


def _milliseconds(at: datetime | None) -> int:
    instant = _SYSTEM_CLOCK.system_now() if at is None else at
    return (instant - _EPOCH) // _MILLISECOND


def _base32(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])

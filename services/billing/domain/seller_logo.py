"""The picture at the head of a seller's documents, kept by the hash of its content: an issued document keeps its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.errors import InvalidInput, NotFound

LogoType = Literal["image/png", "image/svg+xml"]
LOGO_BYTES_MAX = 256 * 1024


class LogoNotFound(NotFound):
    code = "logo_not_found"
    title = "There is no such logo"


class LogoRefused(InvalidInput):
    """It is no picture that can be drawn, or it holds more than a picture needs."""

    code = "logo_refused"
    title = "The logo cannot be used"


@dataclass(frozen=True, slots=True)
class SellerLogo:
    """Written once; `id` is the SHA-256 of the content, in hex."""

    id: str
    media_type: LogoType
    content: bytes
    created_at: datetime


def seller_logo(media_type: LogoType, content: bytes, *, now: datetime) -> SellerLogo:
    return SellerLogo(hashlib.sha256(content).hexdigest(), media_type, content, now)

"""A logo as the typesetter takes it: as an SVG, since all that it is handed is text."""

from __future__ import annotations

import struct
from base64 import b64encode

from services.billing.domain.seller_logo import SellerLogo

LOGO_FILE = "logo.svg"
_SIZE_AT = 16  # in a PNG, behind its signature and the head of its first chunk


def as_svg(logo: SellerLogo) -> bytes:
    if logo.media_type == "image/svg+xml":
        return logo.content
    width, height = struct.unpack_from(">II", logo.content, _SIZE_AT)
    size = f'width="{width}" height="{height}"'
    picture = b64encode(logo.content).decode()
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}">'
    return f'{head}<image {size} href="data:image/png;base64,{picture}"/></svg>'.encode()

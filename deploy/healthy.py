"""`python -m deploy.healthy`: asks the process of this container whether it is ready. Exit code 1: it is not.

Run every few seconds, so it loads nothing but the standard library.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 8.0


def is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_ready(int(os.environ.get("PERENNIAL_PORT", "8000"))) else 1)

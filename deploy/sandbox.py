"""`python -m deploy.sandbox`: a sandbox tenant and a token for it, once the services are ready.

For a newcomer to separate processes what `make run` does by itself on one machine. A repeat makes no second
tenant, and a new token.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import httpx

from deploy.local.sandbox import ensure_sandbox, tenant_token, write_token
from deploy.local.welcome import what_to_try
from libs.common.clock import SystemClock
from libs.common.errors import ServiceError
from libs.common.settings import Settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings(Settings):
    """`url` is where the services answer from here, `public_url` where they do from elsewhere, if that differs."""

    PREFIX: ClassVar[str] = "PERENNIAL_"

    url: str = setting("http://127.0.0.1:8000")
    public_url: str = setting("")
    key_file: Path = setting()
    token_file: Path | None = setting(None)


def main() -> int:
    """Exit code 1: the services did not become ready, or refused."""
    try:
        settings = SandboxSettings.from_environment(os.environ)
        now = SystemClock().system_now()
        asyncio.run(ensure_sandbox(settings.url, settings.key_file, now=now))
        token = tenant_token(settings.key_file, now=now)
        if settings.token_file is not None:
            write_token(settings.token_file, token)
    except (ServiceError, OSError, httpx.HTTPError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    base_url = settings.public_url or settings.url
    print(f"\nPerennial is ready.\n\n  address     {base_url}\n  API docs    {base_url}/docs")
    print(f"  token       {token}\n              (sandbox tenant, good for 30 days)\n")
    print(what_to_try(base_url, set_token="TOKEN=…"), flush=True)  # noqa: S106  # a line for the reader's shell
    return 0


if __name__ == "__main__":
    sys.exit(main())
